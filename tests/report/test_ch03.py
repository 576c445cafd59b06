"""Influence on observations whose answer is planted: levels, tests, gradients, attribution, retraining."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from given import Given

from unlearnkit.report import ch03_influence as influence
from unlearnkit.report import ch03_validation as validation
from unlearnkit.report.ch04_alignment import NOW, vectors

PERSONS = ("Zoe", "Bob", "Cat", "near-neighbours")  # the target is last in the alphabet
OWNER = {f"{person}-{k}": person for person in PERSONS for k in range(5)}
FACTS = list(OWNER)
QUERIES = [f for f in FACTS if OWNER[f] in ("Zoe", "Bob")]  # target and control person
GRADIENTS = np.random.default_rng(0).normal(size=(len(FACTS), 6)) + np.repeat(np.eye(4, 6) * 2, 5, axis=0)


def closeup(method: str, values: dict, metric: str = "influence_gradient") -> list[dict]:
    """Rows of one model: `values` maps (seed, split) to the scores of its facts."""
    return [
        {"seed": s, "split": split, "example": f"{split}-{k}", "metric": metric, "method": method, "value": v}
        for (s, split), scores in values.items()
        for k, v in enumerate(scores)
    ]


def arm_of(closeups: list[dict], oracle: list[dict] = (), **options) -> Given:
    """An arm with these close-ups."""
    tables = {"portraits": pd.DataFrame(closeups)} | ({"oracle": pd.DataFrame(oracle)} if oracle else {})
    seeds = tuple(sorted({row["seed"] for row in closeups}))
    return Given(tables, seeds=seeds, **options)


def test_levels_are_seed_means_and_lack_only_what_was_not_measured():
    before = {(s, split): [1.0, 3.0] for s in (0, 1) for split in ("forget", "retain")}
    rows = closeup("finetuned", before) + closeup("finetuned", {(0, "forget"): [4.0]}, "influence_curvature")
    rows += closeup("first_epoch", {k: [5.0, 7.0] for k in before})
    rows += closeup(influence.FORGOTTEN, {(0, "forget"): [7.0, 9.0]})
    rows += closeup("first_epoch", {(0, "forget"): [6.0]}, "influence_curvature")
    arm = arm_of(rows, closeup("oracle", {k: [9.0, 9.0] for k in before}))
    table = influence.levels(arm)
    gradient = table[table["score"] == influence.STORED_NOW]
    assert len(gradient) == 4
    assert gradient[["before", "after", "oracle"]].to_numpy().tolist() == [[2.0, 6.0, 9.0]] * 4
    assert gradient.query("whose == 'target'")["forgotten"].tolist()[0] == 8.0
    assert gradient["forgotten"].isna().sum() == 3
    (curvature,) = table[table["score"].str.startswith("curvature")].to_dict("records")
    assert (curvature["whose"], curvature["before"], curvature["after"]) == ("target", 4.0, 6.0)
    assert np.isnan(curvature["oracle"])


def in_oracle(score: float, other: float) -> Given:
    """An arm whose oracle has these mean scores, on stored gradients and on activations; before it is 2."""
    before = {(s, "forget"): [1.0, 3.0] for s in (0, 1)}
    rows, oracle = [], []
    for metric, mean in (("influence_gradient", score), ("influence_activation", other)):
        rows += closeup("finetuned", before, metric)
        rows += closeup("first_epoch", {k: [2.0, 4.0] for k in before}, metric)
        oracle += closeup("oracle", {k: [mean - 1, mean + 1] for k in before}, metric)
    return arm_of(rows, oracle)


def test_scores_move_in_units_of_their_spread_and_each_has_its_own_side():
    arm = in_oracle(6.0, 1.0)
    table = influence.moved(arm).set_index(["score", "place", "seed"])["value"]
    assert table[influence.STORED_NOW, "oracle", 0] == pytest.approx(4 / 2**0.5)
    assert table[influence.STORED_NOW, "after", 1] == pytest.approx(1 / 2**0.5)
    assert "forgotten" not in table.index.get_level_values("place")
    other = in_oracle(3.0, 0.0)
    without = arm_of(closeup("finetuned", {(0, "forget"): [1.0]}))
    sides = influence.sides(SimpleNamespace(arms=[arm, other, without]))
    assert sides.to_numpy()[:, 1:].tolist() == [[2, 2, 4, 4], [2, 0, 4, 0]]


def changed(target: list[float], control: list[float]) -> Given:
    """An arm in which the target changes by `target[seed]`, the control person by `control[seed]`."""
    rows = []
    for seed, (mine, other) in enumerate(zip(target, control, strict=True)):
        rows += closeup("finetuned", {(seed, split): [1.0, 2.0] for split in ("forget", "retain")})
        end = {(seed, "forget"): [1 + mine, 2 + mine], (seed, "retain"): [1 + other, 2 + other]}
        rows += closeup("first_epoch", end)
    return arm_of(rows)


def test_curvature_is_told_of_arms_that_took_it():
    rows = closeup("finetuned", {(0, "forget"): [1.0, 3.0]}, "influence_curvature")
    rows += closeup("first_epoch", {(0, "forget"): [2.0, 1.0]}, "influence_curvature")
    run = SimpleNamespace(
        arms=[arm_of(rows, name="took it"), arm_of(closeup("finetuned", {(0, "forget"): [1.0]}))]
    )
    (row,) = influence.curvature(run).to_dict("records")
    assert row == {"arm": "took it", "facts": 2, "seeds": 1, "before": 2.0, "after": 1.5, "higher": 1}


def test_an_arm_whose_paths_end_before_they_forget_says_so(monkeypatch):
    read = pd.DataFrame({"reached": [True, False, False], "oracle_distance": [1.0, 1.0, 1.0]})
    monkeypatch.setattr(influence, "reading", lambda *_: read)
    assert influence.stops_short(None) == "path ends before in 2 of 3"
    monkeypatch.setattr(influence, "reading", lambda *_: read.assign(reached=True))
    assert influence.stops_short(None) == ""


def test_a_change_of_everybody_is_not_specific():
    (row,) = influence.specificity(changed([3.0, 3.2, 2.9, 3.1], [3.1, 3.1, 3.0, 3.0])).to_dict("records")
    assert row["target"] == pytest.approx(3.05)
    assert row["difference"] == pytest.approx(0.0)
    assert row["p_holm"] > 0.5


def test_a_change_of_the_target_alone_is_specific():
    (row,) = influence.specificity(changed([-3.0, -3.2, -2.9, -3.1], [0.0, 0.1, 0.0, 0.1])).to_dict("records")
    assert row["ci_high"] < 0
    assert row["p_holm"] < 0.01


def test_one_seed_has_a_difference_without_an_interval_and_no_control_no_row():
    arm = changed([3.0], [1.0])
    (row,) = influence.specificity(arm).to_dict("records")
    assert (row["target"], row["control"], row["difference"], row["n"]) == (3.0, 1.0, 2.0, 1)
    assert np.isnan([row["ci_low"], row["p_holm"]]).all()
    alone = Given({"portraits": arm.tables["portraits"].query("split == 'forget'")})
    assert influence.specificity(alone).empty


def test_every_update_is_tested_over_the_facts_of_one_model():
    """All epochs move every fact alike but for a little, the first epoch much less evenly; one seed."""
    rows = closeup("finetuned", {(0, "forget"): [1.0, 1.0, 1.0]})
    rows += closeup("first_epoch", {(0, "forget"): [1.5, 2.5, 3.5]})
    rows += closeup("all_epochs", {(0, "forget"): [1.9, 2.0, 2.1]})
    rows += closeup(influence.FORGOTTEN, {(0, "forget"): [1.0, 2.0, 3.0]})
    arm = arm_of(rows, closeup("oracle", {(0, "forget"): [0.0, 0.2, 0.1]}))
    sizes = {}
    for method in influence.AFTER:
        tests = influence.paired_tests(arm, method).set_index("unit")
        sizes[method] = tests.loc[influence.UNITS[0], "d_z"]
        assert np.isnan(tests.loc[influence.UNITS[1], "t"])
    expected = {"first_epoch": 1.5, "all_epochs": 10, influence.FORGOTTEN: 1, "oracle": -9}
    assert sizes == pytest.approx(expected)


def test_gradients_are_as_long_as_their_parts_together():
    squares = {"epoch_1": 16.0, "epoch_2": 4.0, "now": 1.0, "oracle": 9.0}
    parts = [("block.0", 1.0), ("embedding.input", 3.0), ("norms", 0.5)]  # the norms lie in the block
    rows = [
        {"seed": 0, "a": a, "b": b, "layers": layer, "value": share * (value if a == b else 99)}
        for (a, value), b in itertools.product(squares.items(), squares)
        for layer, share in parts
    ]
    arm = Given({"alignment": pd.DataFrame(rows)})
    norms = vectors(arm).query("layers == 'all'").set_index("vector")["norm"]
    assert {name: norms[name] for name in squares} == {
        "epoch_1": 8.0,
        "epoch_2": 4.0,
        NOW: 2.0,
        "oracle": 6.0,
    }


# -- validation -------------------------------------------------------------------------------------------


@pytest.fixture
def linear(monkeypatch):
    """(scores, arm) of a world in which effects are exactly sums of TracIn over the facts trained on."""
    monkeypatch.setattr(validation, "RESAMPLES", 200)
    rng = np.random.default_rng(1)
    halves = {f"half {k}": sorted(rng.choice(FACTS, len(FACTS) // 2, replace=False)) for k in range(12)}
    groups = {p: [f for f in FACTS if OWNER[f] == p] for p in PERSONS}
    monkeypatch.setattr(validation.grid, "left_out", lambda _: list((groups | halves).items()))
    scores = pd.DataFrame(GRADIENTS @ GRADIENTS.T, FACTS, FACTS)
    tracin = scores[QUERIES].rename_axis("example").reset_index().melt(id_vars="example", var_name="query")
    noise = tracin.assign(metric="tracin_first", value=rng.normal(size=len(tracin)))
    full = 10 - scores.sum()
    retrained = [
        {"example": fact, "left_out": label, "value": full[fact] + scores.loc[out, fact].sum()}
        for label, out in (groups | halves).items()
        for fact in FACTS
    ]
    trained = {"example": FACTS, "value": full.to_numpy(), "metric": "nll", "seed": 0, "epoch": 2}
    trained = pd.DataFrame(trained)
    others = (trained, trained.assign(epoch=0, value=50.0), trained.assign(seed=1, value=0))
    tables = {"tracin": pd.concat([tracin.assign(metric="tracin_all"), noise])}
    tables |= {"retrain": pd.DataFrame(retrained), "train": pd.concat(others)}
    return scores, Given(tables)


def test_a_person_is_found_to_influence_itself_most_and_never_counts_a_fact_on_itself(linear):
    scores, arm = linear
    table = validation.sources(arm)
    mine = table[table["score"] == validation.TRACIN["tracin_all"]]
    mine = mine.groupby(["owner", "person"])["value"].mean()
    others = [scores.loc[z, q] for z in FACTS for q in QUERIES if z != q and OWNER[z] == OWNER[q] == "Zoe"]
    assert mine["Zoe", "Zoe"] == pytest.approx(np.mean(others))
    assert mine["Zoe"].idxmax() == "Zoe"
    assert table["owner"].iloc[0] == "Zoe"  # the target first, for its colour


def test_leaving_a_person_out_is_told_by_true_scores_and_not_by_noise(linear):
    _, arm = linear
    effects = validation.effects(arm)
    assert (effects["query"].map(OWNER) != effects["left_out"]).all()
    exact = effects[effects["scores"] == "tracin_all"]
    assert np.allclose(exact["predicted"], exact["actual"])
    table = validation.leave_one_person_out(arm).set_index("left out")
    assert table["pairs"].to_dict() == {"Zoe": 5, "Bob": 5, "Cat": 10, "near-neighbours": 10, "everybody": 30}
    assert set(table["TracIn, all epochs"]) == {"+1.00 [1.00, 1.00]"}
    assert float(table.loc["everybody", "TracIn, first epoch"].split()[0]) < 0.6
    assert validation.BASELINES["count"] not in table


def test_random_halves_are_told_by_true_scores_own_fact_or_not(linear):
    _, arm = linear
    means = validation.datamodel_scores(arm).groupby(["scores", "own"])["rho"].mean()
    held = validation.HELD_EQUAL
    assert means["tracin_all"].tolist() == pytest.approx([1, 1])
    assert means["tracin_first", held] < 0.5
    assert means["other_query", held] < 0.95
    lead = validation.lead(arm).set_index("over")
    expected = means["tracin_all", held] - means["count", held]
    assert lead.loc[validation.BASELINES["count"], "lead"] == pytest.approx(expected)
    assert (lead["ci_low"] > 0).all()
    assert validation.lead(arm, "tracin_first")["ci_low"].iloc[0] < 0


def test_the_query_that_lends_its_scores_changes_places_with_the_borrower(linear):
    scores = validation.matrices(linear[1])
    mine, lent = scores["other_query"]["Zoe-0"], scores["tracin_all"]["Zoe-1"]
    assert mine["Zoe-0"] == lent["Zoe-1"]
    assert mine["Zoe-1"] == lent["Zoe-0"]
    assert mine["Cat-0"] == lent["Cat-0"]


def test_only_an_arm_that_was_retrained_is_validated(linear):
    _, arm = linear
    half = Given({"tracin": arm.tables["tracin"]})
    assert validation.validated(SimpleNamespace(arms=[half, arm])) is arm
    assert validation.validated(SimpleNamespace(arms=[half])) is None


def test_who_is_left_out_follows_from_the_facts():
    from unlearnkit.study import plan, profiles

    setting = plan.arms(profiles.get("default"))[1].settings[0]
    arm = Given(settings=(setting,))
    owner = validation.persons(arm)
    assert set(owner.index) == {e.id for e in setting.facts}
    assert (owner == "Dave").sum() == (owner == "Rosa").sum() == len(setting.forget)


def test_the_interval_of_a_mean_is_students():
    """Three values with mean 2 and standard deviation 1; t of two degrees of freedom is 4.303."""
    reach = 4.3027 / np.sqrt(3)
    assert validation.t_interval(pd.Series([1.0, 2.0, 3.0])) == pytest.approx(
        (2 - reach, 2 + reach), abs=1e-3
    )
