"""Tests over facts and over seeds, equivalence, and what practitioners read, in a world of known truth."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from planted_run import World, plant

from unlearnkit import profiles, stats
from unlearnkit.study import results
from unlearnkit.study.results import equivalence, practice, testing
from unlearnkit.tables import practice as told
from unlearnkit.tables import testing as tables

SEEDS = 7  # five persons: two of them recur


@pytest.fixture(scope="module")
def run():
    return profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": SEEDS})


@pytest.fixture(scope="module")
def planted(run, tmp_path_factory):
    """One world for most tests: observations and readings are made once."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, tmp_path_factory.mktemp("build"), run, World())
        yield results.arm_names(run)[0]


@pytest.fixture
def arm(planted):
    return planted


def test_facts_average_to_the_distance_that_the_claims_use(run, arm):
    facts = testing.fact_readings(run, arm).groupby(["seed", "layers", "method"])["distance"].mean()
    readings = results.matched_damage(run, arm, layers=None, methods=None)
    readings = readings.set_index(["seed", "layers", "method"])["oracle_distance"]
    assert len(facts) == SEEDS * len(testing.UPDATES)
    assert facts.to_numpy() == pytest.approx(readings[facts.index].to_numpy())


def test_contrasts_over_seeds_are_the_claims(run, arm):
    means = testing.fact_contrasts(run, arm).groupby(["contrast", "seed"])["value"].mean()
    values = results.claim_values(run, arm)
    assert means[testing.MAIN_CONTRAST].to_numpy() == pytest.approx(values["C1"].to_numpy())
    for claim, pair in testing.claim_pairs(run, arm, values).items():
        difference = pair["more"] - pair["less"]
        if claim.startswith("C3"):
            difference = difference / pair["more"].abs()
        assert difference.to_numpy() == pytest.approx(values[claim].to_numpy()), claim


def test_seed_tests_have_the_identity_and_their_own_holm_family(run, arm):
    table = testing.seed_tests(run, arm)
    judged = {row["id"]: row for row in results.verdicts(run)}
    has = table.dropna(subset="t")
    assert {"C1", "C1a", "C2a"} <= set(has["id"])
    assert judged["C5"]["estimate"] == pytest.approx(0, abs=1e-9)  # both requests are one path in this world
    assert has["d_z_root_n"].to_numpy() == pytest.approx(has["t"].to_numpy())
    for row in has.itertuples():
        assert row.p_holm == pytest.approx(judged[row.id]["p_holm"])
        assert row.ci_low == pytest.approx(judged[row.id]["ci_low"])
        assert row.p_wilcoxon == pytest.approx(2 / 2**SEEDS)  # all seeds on one side


def test_few_seeds_have_no_wilcoxon_and_one_has_no_test(monkeypatch, tmp_path):
    run = profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": 3})
    plant(monkeypatch, tmp_path, run, World())
    table = testing.seed_tests(run, "gpt2-tiny-pretrained, AdamW")
    assert table["p_wilcoxon"].isna().all()
    assert table["p"].notna().any()
    run = profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": 1})
    plant(monkeypatch, tmp_path, run, World())
    table = testing.seed_tests(run, "gpt2-tiny-pretrained, AdamW")
    assert table["p"].isna().all()
    assert table["mean"].notna().all()
    assert testing.mixed(run, "gpt2-tiny-pretrained, AdamW") is None
    assert "one seed" in told.recommendation(practice.ranked(run, "gpt2-tiny-pretrained, AdamW"))
    assert tables.seeds({"arm": table})["p"].eq("–").all()


def test_readers_of_one_model_contradict_each_other_where_seeds_differ(monkeypatch, tmp_path):
    """All facts of a seed share a large shift of its own: significant in every model, nothing over models."""
    run = profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": 6})
    plant(monkeypatch, tmp_path, run, World(own=12.5, seed_noise=0.6))
    arm = results.arm_names(run)[0]
    table = testing.by_seed(run, arm)
    main = testing.disagreement(table).set_index("contrast").loc[testing.MAIN_CONTRAST]
    assert main["positive"] + main["negative"] == 6
    assert main["missed"] >= 5
    units = testing.units_compared(run, arm)
    assert "where the seeds do not in" in tables.units_in_words(units)
    units = units.set_index(["what", "unit"])
    facts, seeds = (units.loc[(testing.MAIN_CONTRAST, unit)] for unit in results.UNITS)
    assert facts["p"] < 1e-3 * seeds["p"]
    assert abs(facts["d_z"]) > abs(seeds["d_z"])


def test_mixed_model_agrees_with_the_test_over_seeds(run, arm):
    fitted = testing.mixed(run, arm)
    over_seeds = results.claim_values(run, arm)["C1"]
    assert fitted.estimate == pytest.approx(over_seeds.mean(), rel=1e-4)
    assert fitted.n_seeds == SEEDS
    pooled = testing.tested(
        testing.fact_contrasts(run, arm).query("contrast == @testing.MAIN_CONTRAST")["value"]
    )
    assert fitted.ci_high - fitted.ci_low > pooled["ci_high"] - pooled["ci_low"]


def test_order_and_person_are_told_apart_only_where_a_person_recurs(run, arm, monkeypatch, tmp_path):
    spreads, inseparable = testing.spreads(run)
    assert set(spreads["arm"]) == {arm}
    assert inseparable == []
    few = profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": 3})
    plant(monkeypatch, tmp_path, few, World())
    spreads, inseparable = testing.spreads(few)
    assert spreads.empty
    assert inseparable == [arm]


def test_persons_as_replicates_are_the_means_of_their_seeds(run, arm):
    values = results.claim_values(run, arm)["C1"]
    target = {s.seed: s.target for s in results.arm_of(run, arm).settings}
    means = values.groupby(values.index.map(target)).mean()
    table = testing.person_tests(run, arm)
    row = table.set_index("id").loc["C1"]
    expected = stats.paired_t(np.zeros(len(means)), means)
    assert (row["n"], row["p"]) == (len(means), pytest.approx(expected.p))
    assert row["mean"] == pytest.approx(means.mean())
    assert list(table["p_holm"].dropna()) == pytest.approx(list(stats.holm(table["p"].dropna())))
    shown = tables.persons({arm: table}, {arm: testing.seed_tests(run, arm)})
    assert list(shown["claim"]) == list(table["id"])


def test_oracles_are_equivalent_to_each_other_and_controls_are_not(run, arm):
    margin, source = equivalence.margin(run, arm)
    assert arm in source
    assert margin == pytest.approx(results.oracle_floor(results.oracle_nll(run, arm)))
    table = equivalence.equivalence(run, arm).set_index(["measure", "update"])
    assert table.loc[("distance", equivalence.ORACLE), "mean"] == pytest.approx(0, abs=1e-9)
    others = table[table.index.get_level_values("update") != equivalence.ORACLE]
    assert not others["equivalent"].any()
    assert (others.loc["gap", "mean"] < 0).all()
    assert (others["p_holm"] >= others["p"]).all()


def test_margin_is_fixed_where_no_person_has_two_oracles(monkeypatch, tmp_path):
    run = profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": 2})
    plant(monkeypatch, tmp_path, run, World())
    arm = results.arm_names(run)[0]
    assert equivalence.margin(run, arm)[0] == equivalence.FIXED_MARGIN
    assert equivalence.ORACLE not in set(equivalence.equivalence(run, arm)["update"])
    assert equivalence.ORACLE not in set(equivalence.ks_distances(run, arm)["update"])


def test_an_update_at_the_oracle_is_found_equivalent(run, arm, monkeypatch):
    """Readings as an oracle's own would be: the distance is the oracles', the gap none."""
    margin, _ = equivalence.margin(run, arm)
    rng = np.random.default_rng(0)
    rows = [
        {"seed": s, "layers": "all", "method": "first_epoch"}
        | {"oracle_distance": margin * rng.uniform(0.8, 1.2), "oracle_gap": margin * rng.uniform(-0.2, 0.2)}
        for s in range(SEEDS)
    ]
    monkeypatch.setattr(equivalence, "matched_damage", lambda *_, **__: pd.DataFrame(rows))
    table = equivalence.equivalence(run, arm)
    assert table[table["update"] == "first epoch"]["equivalent"].all()


def test_ks_is_one_for_disjoint_distributions_and_small_between_oracles(run, arm):
    table = equivalence.ks_distances(run, arm).groupby("update")["d"].mean()
    assert table["wrong person"] == 1.0
    assert table[equivalence.ORACLE] < 0.6


def test_ranking_puts_the_planted_best_first_and_counts_controls_apart(run, arm):
    table = practice.ranked(run, arm)
    own = table[~table["control"]]
    assert tuple(own.iloc[0][["layers", "method"]]) == ("all", "first_epoch")
    assert own.iloc[0]["wins"] == SEEDS
    assert set(table.loc[table["control"], "method"]) == set(practice.CONTROLS)
    assert own["p_holm"].notna().sum() == len(own)
    assert told.is_shown(table)
    text = told.recommendation(table)
    assert text.startswith("Use **first epoch**")
    assert "number 1 of" in told.against_reference(table)


def test_no_setting_is_recommended_where_none_beats_the_controls(run, arm):
    table = practice.ranked(run, arm)
    table = table.assign(ahead=-table["ahead"].abs())
    assert told.recommendation(table).startswith("**No setting can be recommended**")
    assert not told.is_shown(table)


def test_leftovers_tell_what_is_known_and_which_cautions_apply(run, arm):
    left = practice.left_behind(run, arm)
    means = left.groupby("model").mean(numeric_only=True)
    assert means.loc["finetuned", "still"] == 1.0
    assert means.loc["oracle", "distance"] < 0.6 < means.loc["first_epoch", "distance"]
    assert np.isnan(means.loc["wrong_person", "paraphrase_nll"])
    assert means.loc["finetuned", "paraphrase_nll"] - means.loc["finetuned", "forget_nll"] == pytest.approx(
        0.5
    )
    prices = dict.fromkeys(
        ("retraining_seconds", "apply_seconds_first", "ledger_bytes", "ledger_facts", "weights_bytes"), np.nan
    )
    ranking = practice.ranked(run, arm)
    text = told.cautions(left, prices, 0.1, "planted", ranking)
    assert "nothing may remain" in text
    assert "retraining" not in text
    text = told.cautions(
        left, prices | {"retraining_seconds": 60.0, "apply_seconds_first": 2.0}, 99, "", ranking
    )
    assert "30 times as long" in text
    assert "nothing may remain" not in text


def test_tables_and_figures_stand_missing_numbers(run, arm):
    one = testing.tested(pd.Series([0.5]))
    assert set(one) == {"n", "mean"}
    shown = tables.models(None, {"n": 1, "mean": 0.5}, dataclasses.asdict(stats.mean_ci([0.1, 0.2])))
    assert list(shown["mean [95 %]"]) == ["+0.500", "+0.150 [-0.485, +0.785]"]
