"""Influence tracking on observations whose answer is planted: levels, gradients, attribution, retraining."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unlearnkit import profiles
from unlearnkit.plots import tracking as drawing
from unlearnkit.study.results import influence, tracking, validation
from unlearnkit.tables import tracking as tabled

RUN, ARM = profiles.get("quick"), "a model, AdamW"
PERSONS = ("Zoe", "Bob", "Cat", "near-neighbours")  # the target is last in the alphabet
OWNER = {f"{person}-{k}": person for person in PERSONS for k in range(5)}
FACTS = list(OWNER)
QUERIES = [f for f in FACTS if OWNER[f] in ("Zoe", "Bob")]  # target and control person
GRADIENTS = np.random.default_rng(0).normal(size=(len(FACTS), 6)) + np.repeat(np.eye(4, 6) * 2, 5, axis=0)


@pytest.fixture
def stages(monkeypatch):
    """Observations by stage, for a test to fill."""
    found: dict[str, pd.DataFrame] = {}
    for module in (influence, tracking, validation):
        monkeypatch.setattr(module, "observations", lambda _run, stage, _arm=None: found[stage].copy())
    return found


def closeup(method, values, metric="influence_gradient"):
    """Rows of one model: `values` maps (seed, split) to the scores of its facts."""
    return [
        {
            "seed": seed,
            "split": split,
            "example": f"{split}-{k}",
            "metric": metric,
            "method": method,
            "value": v,
        }
        for (seed, split), scores in values.items()
        for k, v in enumerate(scores)
    ]


def test_levels_are_seed_means_and_lack_only_what_was_not_measured(stages):
    before = {(s, split): [1.0, 3.0] for s in (0, 1) for split in ("forget", "retain")}
    rows = closeup("finetuned", before) + closeup("finetuned", {(0, "forget"): [4.0]}, "influence_curvature")
    rows += closeup("first_epoch", {k: [5.0, 7.0] for k in before})
    rows += closeup("first_epoch", {(0, "forget"): [6.0]}, "influence_curvature")
    stages["portraits"] = pd.DataFrame(rows)
    stages["oracle"] = pd.DataFrame(closeup("oracle", {k: [9.0, 9.0] for k in before}))
    table = tracking.levels(RUN, ARM)
    gradient = table[table["metric"] == "influence_gradient"]
    assert len(gradient) == 4
    assert gradient[["before", "after", "oracle"]].to_numpy().tolist() == [[2.0, 6.0, 9.0]] * 4
    (curvature,) = table[table["metric"] == "influence_curvature"].to_dict("records")
    assert (curvature["whose"], curvature["before"], curvature["after"]) == ("target", 4.0, 6.0)
    assert np.isnan(curvature["oracle"])
    assert len(drawing.slopes({ARM: table}).axes) == 2


def changes(stages, target, control):
    """Close-ups in which the target changes by `target[seed]`, the control person by `control[seed]`."""
    rows = []
    for seed, (mine, other) in enumerate(zip(target, control, strict=True)):
        start = {(seed, "forget"): [1.0, 2.0], (seed, "retain"): [1.0, 2.0]}
        rows += closeup("finetuned", start)
        end = {(seed, "forget"): [1 + mine, 2 + mine], (seed, "retain"): [1 + other, 2 + other]}
        rows += closeup("first_epoch", end)
    stages["portraits"], stages["oracle"] = (
        pd.DataFrame(rows),
        pd.DataFrame(closeup("oracle", {(0, "x"): [0]})),
    )


def test_a_change_of_everybody_is_not_specific(stages):
    changes(stages, [3.0, 3.2, 2.9, 3.1], [3.1, 3.1, 3.0, 3.0])
    (row,) = tracking.specificity(RUN, ARM).to_dict("records")
    assert row["target"] == pytest.approx(3.05)
    assert row["difference"] == pytest.approx(0.0)
    assert row["p_holm"] > 0.5


def test_a_change_of_the_target_alone_is_specific(stages):
    changes(stages, [-3.0, -3.2, -2.9, -3.1], [0.0, 0.1, 0.0, 0.1])
    (row,) = tracking.specificity(RUN, ARM).to_dict("records")
    assert row["ci_high"] < 0
    assert row["p_holm"] < 0.01


def test_one_seed_has_a_difference_without_an_interval_and_no_control_no_row(stages):
    changes(stages, [3.0], [1.0])
    (row,) = tracking.specificity(RUN, ARM).to_dict("records")
    assert row["difference"] == pytest.approx(2.0)
    assert "p" not in row
    stages["portraits"] = stages["portraits"].query("split == 'forget'")
    assert tracking.specificity(RUN, ARM).empty


def test_gradient_norms_count_every_parameter_once(stages):
    squares = {"epoch_1": 16.0, "epoch_2": 4.0, "now": 1.0, "oracle": 9.0}
    parts = [("block.0", 1.0), ("embedding.input", 3.0), ("norms", 0.5)]  # the norms lie in the block
    rows = [
        {
            "seed": 0,
            "metric": "gram",
            "a": a,
            "b": b,
            "layers": layer,
            "value": share * (value if a == b else 99),
        }
        for (a, value), b in itertools.product(squares.items(), squares)
        for layer, share in parts
    ]
    stages["alignment"] = pd.DataFrame(rows)
    table = tracking.gradient_norms(RUN, ARM).set_index("vector")
    assert table["norm"].to_dict() == {"epoch_1": 8.0, "epoch_2": 4.0, "now": 2.0}
    assert table["share"].to_dict() == {"epoch_1": 1.0, "epoch_2": 0.5, "now": 0.25}
    assert len(drawing.shrinking({ARM: table.reset_index()}).axes) == 1


def test_what_is_left_of_a_gradient_is_a_mean_of_shares():
    shares = {0: (1.0, 0.5, 0.2), 1: (1.0, 0.7, 0.4)}
    rows = [
        {"seed": seed, "vector": vector, "share": share}
        for seed, values in shares.items()
        for vector, share in zip(("epoch_1", "epoch_2", "now"), values, strict=True)
    ]
    assert tracking.remaining({ARM: pd.DataFrame(rows)}).loc[ARM].tolist() == pytest.approx([0.6, 0.3])


def test_every_update_is_tested_and_what_cannot_be_has_a_dash(stages):
    """All epochs move every fact alike but for a little, the first epoch much less evenly; one seed."""
    rows = closeup("finetuned", {(0, "forget"): [1.0, 1.0, 1.0]})
    rows += closeup("first_epoch", {(0, "forget"): [1.5, 2.5, 3.5]})
    rows += closeup("all_epochs", {(0, "forget"): [1.9, 2.0, 2.1]})
    stages["portraits"] = pd.DataFrame(rows)
    stages["oracle"] = pd.DataFrame(closeup("oracle", {(0, "forget"): [0.0, 0.2, 0.1]}))
    tests = tracking.tests_by_update(RUN, ARM)
    facts = tests[tests["unit"] == influence.UNITS[0]].set_index("method")
    assert facts["d_z"].to_dict() == pytest.approx({"first_epoch": 1.5, "all_epochs": 10, "oracle": -9})
    assert tracking.larger_t({ARM: tests}, influence.UNITS[0]) == (0, 1)
    assert tracking.larger_t({ARM: tests}, influence.UNITS[1]) == (0, 0)
    table = tabled.by_update({ARM: tests}).set_index("replicates")
    assert table.loc[influence.UNITS[0], "oracle"].startswith("-9.00 (p ")
    assert (table.loc[influence.UNITS[1], list(tracking.AFTER.values())] == "–").all()


def test_tables_follow_the_numbers_and_survive_one_seed_and_none(stages):
    changes(stages, [3.0], [1.0])
    (row,) = tabled.specificity({ARM: tracking.specificity(RUN, ARM)}).to_dict("records")
    told = [row[c] for c in ("change, target", "change, control", "difference", "95 % interval", "p (Holm)")]
    assert told == ["+3", "+1", "+2", "–", "–"]
    levels = tabled.levels({ARM: tracking.levels(RUN, ARM)})
    assert levels[["before", "after", "oracle", "falls in"]].to_numpy().tolist() == [
        ["1.5", "4.5", "–", "0 of 1"],
        ["1.5", "2.5", "–", "0 of 1"],
    ]
    stages["portraits"] = stages["portraits"].query("split == 'forget'")
    assert tabled.specificity({ARM: tracking.specificity(RUN, ARM)}).empty
    verdict = {"id": "C3a", "arm": ARM, "estimate": -0.5, "ci_low": None, "ci_high": None, "p_holm": None}
    (row,) = tabled.verdicts([verdict | {"n_seeds": 1, "verdict": "undecided"}]).to_dict("records")
    assert (row["fall, share of the score before"], row["95 % interval"], row["p (Holm)"]) == (
        "-0.5",
        "–",
        "–",
    )


@pytest.fixture
def linear(stages, monkeypatch):
    """A world in which every effect is exactly the sum of TracIn scores over the facts trained on."""
    rng = np.random.default_rng(1)
    halves = {f"half {k}": sorted(rng.choice(FACTS, len(FACTS) // 2, replace=False)) for k in range(12)}
    groups = {p: [f for f in FACTS if OWNER[f] == p] for p in PERSONS}
    monkeypatch.setattr(validation, "left_out", lambda *_: groups | halves)
    monkeypatch.setattr(validation, "arm_of", lambda *_: SimpleNamespace(seeds=(0,)))
    scores = pd.DataFrame(GRADIENTS @ GRADIENTS.T, FACTS, FACTS)
    tracin = scores[QUERIES].rename_axis("example").reset_index().melt(id_vars="example", var_name="query")
    noise = tracin.assign(metric="tracin_first", value=rng.normal(size=len(tracin)))
    stages["tracin"] = pd.concat([tracin.assign(metric="tracin_all"), noise])
    full = 10 - scores.sum()
    rows = [
        {
            "example": fact,
            "left_out": label,
            "value": full[fact] + scores.loc[out, fact].sum(),
            "metric": "nll",
        }
        for label, out in (groups | halves).items()
        for fact in FACTS
    ]
    stages["retrain"] = pd.DataFrame(rows)
    trained = pd.DataFrame(
        {"example": FACTS, "value": full.to_numpy(), "metric": "nll", "seed": 0, "epoch": 2}
    )
    stages["train"] = pd.concat(
        [trained, trained.assign(epoch=0, value=50.0), trained.assign(seed=1, value=0)]
    )
    return scores


def test_a_person_is_found_to_influence_itself_most_and_never_counts_a_fact_on_itself(linear):
    table = validation.sources(RUN, ARM).query("metric == 'tracin_all'").set_index(["person", "query"])
    others = [linear.loc[z, q] for z in FACTS for q in QUERIES if z != q and OWNER[z] == OWNER[q] == "Zoe"]
    assert table.loc[("Zoe", "Zoe"), "value"] == pytest.approx(np.mean(others))
    assert table["value"].xs("Zoe", level="query").idxmax() == "Zoe"
    share = np.mean([abs(linear.loc[q, q]) / linear[q].abs().sum() for q in QUERIES if OWNER[q] == "Bob"])
    assert table.loc[("Cat", "Bob"), "own_share"] == pytest.approx(share)
    assert table.loc[("Cat", "Bob"), "own"] == pytest.approx(
        np.mean([linear.loc[f"Bob-{k}", f"Bob-{k}"] for k in range(5)])
    )
    assert table.loc[("Cat", "Bob"), "ci_low"] < table.loc[("Cat", "Bob"), "value"]
    assert validation.sources(RUN, ARM)["query"].iloc[0] == "Zoe"  # the target first, for its colour
    assert list(validation.effects(RUN, ARM)["person"].unique()) == ["Zoe", "Bob"]
    drawn = drawing.influencers(table.reset_index(), {"tracin_all": "TracIn"})
    assert [t.get_text() for t in drawn.axes[0].get_yticklabels()] == list(PERSONS)[::-1]


def test_leaving_a_person_out_is_told_by_true_scores_and_not_by_noise(linear):
    effects = validation.effects(RUN, ARM)
    assert (effects["query"].map(OWNER) != effects["left_out"]).all()
    exact = effects[effects["scores"] == "tracin_all"]
    assert np.allclose(exact["predicted"], exact["actual"])
    table = validation.leave_one_person_out(RUN, ARM).set_index(["scores", "left_out"])
    assert np.allclose(table.loc["tracin_all", ["rho", "ci_low", "ci_high"]], 1)
    assert table.loc[("tracin_all", "Zoe"), "n"] == 5  # Bob's facts only
    assert table.loc[("tracin_all", "everybody"), "n"] == 30
    noise = table.loc[("tracin_first", "everybody")]
    assert noise["ci_low"] < 0.4
    assert noise["rho"] < 0.6
    assert "count" not in table.index.get_level_values("scores")
    shown = tabled.leave_one_person_out(table.reset_index()).set_index("left out")
    assert shown.loc["everybody", "TracIn, all epochs"] == "+1.00 [1.00, 1.00]"


def test_random_halves_are_told_by_true_scores_own_fact_or_not(linear):
    means = validation.datamodel_means(RUN, ARM).set_index(["scores", "own"])
    assert means.loc["tracin_all", "rho"].tolist() == pytest.approx([1, 1])
    assert means.loc[("tracin_first", "equal"), "rho"] < 0.5
    assert means.loc[("other_query", "equal"), "rho"] < 0.95
    assert (means["ci_low"] <= means["rho"]).all()
    assert (means["n"] == len(QUERIES)).all()
    gains = validation.datamodel_gains(RUN, ARM).set_index(["scores", "against"])
    expected = means.loc[("tracin_all", "equal"), "rho"] - means.loc[("count", "equal"), "rho"]
    assert gains.loc[("tracin_all", "count"), "gain"] == pytest.approx(expected)
    assert (gains.loc["tracin_all", "ci_low"] > 0).all()
    assert gains.loc[("tracin_first", "other_query"), "ci_low"] < 0
    effects = validation.effects(RUN, ARM).query("scores == 'tracin_all'")
    names = validation.TRACIN | validation.BASELINES
    drawn = drawing.against_retraining(effects, means.reset_index(), names, validation.SELF)
    assert len(drawn.axes) == 2
    shown = tabled.datamodel(means.reset_index()).set_index("score")
    assert shown.loc["TracIn, all epochs", "own fact held equal"] == "+1.00 [1.00, 1.00]"


def test_the_query_that_lends_its_scores_changes_places_with_the_borrower(linear):
    scores = validation.matrices(RUN, ARM)
    mine, lent = scores["other_query"]["Zoe-0"], scores["tracin_all"]["Zoe-1"]
    assert mine["Zoe-0"] == lent["Zoe-1"]
    assert mine["Zoe-1"] == lent["Zoe-0"]
    assert mine["Cat-0"] == lent["Cat-0"]


def test_a_run_without_validation_says_so():
    assert validation.validated_arm(profiles.get("quick")) is None
    assert validation.validated_arm(profiles.get("default")) == "gpt2-tiny-pretrained, AdamW"
    out = validation.left_out(profiles.get("default"), "gpt2-tiny-pretrained, AdamW")
    assert len(out["Dave"]) == len(out["Rosa"])
    assert sum(label.startswith(validation.HALF) for label in out) > 0
