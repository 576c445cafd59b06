"""Tests over facts, seeds and persons, and equivalence, in worlds of known truth."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from planted_run import World, planted

from unlearnkit import data
from unlearnkit.report import ch07_equivalence as equivalence
from unlearnkit.report import ch07_facts as facts
from unlearnkit.report import ch07_statistics as statistics
from unlearnkit.report import contrasts
from unlearnkit.report.claim_values import claim_values
from unlearnkit.report.contrasts import verdicts
from unlearnkit.report.oracles import oracle_floor
from unlearnkit.report.readings import by_setting
from unlearnkit.study import config, plan

SEEDS = 7
TURNS = data.persons(data.dave())  # five persons: two of them recur among as many seeds


def world_of(folder, seeds_adamw, world=None, **options):
    return planted(folder, world or World(), model="gpt2-tiny-pretrained", seeds_adamw=seeds_adamw, **options)


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    """A run for most tests, in which seeds share persons as in the first published one; made once."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_BUILD", str(folder))
        patch.setattr(data, "world", lambda seed: data.dave(target=TURNS[seed % len(TURNS)]))
        plan.built_in.cache_clear()
        yield world_of(folder, SEEDS).arms[0]
    plan.built_in.cache_clear()


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    return tmp_path


def test_facts_average_to_the_distance_that_the_claims_use(arm):
    means = facts.fact_readings(arm).groupby(["seed", "layers", "method"])["distance"].mean()
    assert len(means) == SEEDS * len(facts.UPDATES)
    for (seed, *where), value in means.items():
        assert value == pytest.approx(by_setting(arm).loc[seed, tuple(where)])


def test_contrasts_over_seeds_are_the_claims(arm):
    means = facts.over_seeds(arm)["mean"]
    values = claim_values(arm, "damage")
    assert means[facts.MAIN_CONTRAST] == pytest.approx(values["C1"].mean())


def test_seed_tests_are_those_of_the_verdicts_with_wilcoxon_beside(arm):
    table, judged = statistics.seed_tests(arm), {row["id"]: row for row in verdicts(arm.run)}
    has = table.dropna(subset="t")
    assert {"C1", "C1a", "C2a"} <= set(has["id"])
    for row in has.itertuples():
        assert row.d_z * row.n**0.5 == pytest.approx(row.t)
        assert row.p_holm == pytest.approx(judged[row.id]["p_holm"])
        assert row.ci_low == pytest.approx(judged[row.id]["ci_low"])
        assert row.p_wilcoxon == pytest.approx(2 / 2**SEEDS)  # all seeds on one side


def test_few_seeds_have_no_wilcoxon_and_one_has_no_test(build):
    run = world_of(build, 3)
    table = statistics.seed_tests(run.arms[0])
    assert table["p_wilcoxon"].isna().all()
    assert table["p"].notna().any()
    one = world_of(build, 3, seeds=1)
    table = statistics.seed_tests(one.arms[0])
    assert table["p"].isna().all()
    assert table["mean"].notna().all()
    assert list(facts.analyses(one.arms[0])["n"]) == [1, 20]  # no mixed model, which needs two seeds
    assert all(part.empty for part in statistics.power(one.arms[0]))


def test_readers_of_one_model_contradict_each_other_where_seeds_differ(build):
    """All facts of a seed share a large shift of its own: significant in every model, nothing over models."""
    arm = world_of(build, 6, World(own=12.5, seed_noise=0.6)).arms[0]
    main = facts.disagreement(arm).set_index("contrast").loc[facts.MAIN_CONTRAST]
    assert main["positive"] + main["negative"] == 6
    assert main["missed"] >= 5
    first = facts.by_seed(arm).query("contrast == @facts.MAIN_CONTRAST").iloc[0]
    seeds = facts.over_seeds(arm).loc[facts.MAIN_CONTRAST]
    assert first["p"] < 1e-3 * seeds["p"]
    assert abs(first["d_z"]) > abs(seeds["d_z"])
    assert list(facts.disagreement(arm)["contrast"]) == list(facts.CONTRASTS)


def test_mixed_model_agrees_with_the_test_over_seeds(arm):
    mixed, seeds, persons, pooled = facts.analyses(arm).itertuples()
    assert mixed.mean == pytest.approx(seeds.mean, rel=1e-4)
    assert seeds.mean == pytest.approx(claim_values(arm, "damage")["C1"].mean())
    assert mixed.ci_high - mixed.ci_low > pooled.ci_high - pooled.ci_low
    assert (mixed.n, seeds.n, persons.n) == (pooled.n, SEEDS, pooled.n)
    assert persons.mean == pytest.approx(seeds.mean)


def test_an_interval_clustered_by_person_is_one_over_seeds_where_each_forgets_another(arm):
    def width(targets):
        settings = [replace(s, target=t) for s, t in zip(arm.settings, targets, strict=True)]
        found = facts.analyses(replace(arm, settings=tuple(settings)))
        return (found["ci_high"] - found["ci_low"])[2]

    over_seeds = facts.over_seeds(arm).loc[facts.MAIN_CONTRAST]
    assert width("abcdefg") == pytest.approx(over_seeds["ci_high"] - over_seeds["ci_low"], rel=0.01)
    assert width("aabbccc") != pytest.approx(width("abcdefg"), rel=0.01)


def test_half_the_difference_takes_about_four_times_the_seeds(arm):
    curves, dots = statistics.power(arm)
    found = curves.pivot_table(index="seeds", columns="claim", values="found")
    assert (found.diff().dropna() < 0).all(axis=None)
    assert (found.loc[10] / found.loc[40]).to_numpy() == pytest.approx(2, abs=0.3)
    assert set(dots["seeds"]) == {SEEDS}


def test_contrasts_along_the_damage_pass_through_the_readings(arm):
    line = statistics.along_damage(arm).set_index(["claim", "damage"])
    points = statistics.marks(arm)
    level = config.DAMAGE_NATS
    for claim in ("C1", "C1a"):
        value = claim_values(arm, "damage", level)[claim].mean()
        assert line.loc[(claim, level), "mean"] == pytest.approx(value)
    first = points[(points["claim"] == "C1") & (points["reading"] == "matched forgetting")].iloc[0]
    assert first["mean"] == pytest.approx(claim_values(arm)["C1"].mean())
    assert set(points["reading"]) == set(statistics.MARKS)
    assert set(points["claim"]) <= set(statistics.SAYS) == set(statistics.PAIRS)


def test_a_panel_shows_zero_and_all_means_but_not_the_widest_interval():
    points = pd.DataFrame({"mean": [1.0, 2.0], "ci_low": [-50.0, 1.5], "ci_high": [52.0, np.nan]})
    low, high = statistics.reach(points.iloc[:0], points)
    assert -1.5 < low < 0
    assert 2 < high < 3.5


def test_seeds_needed_are_enough_or_told_as_a_bound(arm):
    table = statistics.needed(arm, 1e9)
    assert set(table["needed"]) == {str(min(statistics.STUDIES))}
    assert set(statistics.needed(arm, 1e-9)["needed"]) == {f"over {statistics.MOST}"}


def test_oracles_are_equivalent_to_each_other_and_controls_are_not(arm):
    margin, source = equivalence.oracle_margin(arm)
    assert arm.name in source
    assert margin == pytest.approx(oracle_floor(arm))
    table = equivalence.equivalence(arm, "damage").set_index(["measure", "update"])
    assert table.loc[("distance", equivalence.ORACLE), "mean"] == pytest.approx(0, abs=1e-9)
    others = table[table.index.get_level_values("update") != equivalence.ORACLE]
    assert not others["equivalent"].any()
    assert (others.loc["gap", "mean"] < 0).all()
    assert (others["p_holm"] >= others["p"]).all()
    assert len(table) == 2 * (len(facts.UPDATES) + 1)


def test_margin_is_fixed_where_no_world_has_two_oracles(build):
    run = world_of(build, 2)
    arm = run.arms[0]
    assert equivalence.oracle_margin(arm)[0] == equivalence.FIXED_MARGIN
    assert equivalence.ORACLE not in set(equivalence.equivalence(arm)["update"])


def test_an_update_at_the_oracle_is_found_equivalent(arm, monkeypatch):
    """Readings as an oracle's own would be: the distance is the oracles', the gap none."""
    margin, _ = equivalence.oracle_margin(arm)
    rng = np.random.default_rng(0)
    own = {"oracle_distance": (0.8, 1.2), "oracle_gap": (-0.2, 0.2)}
    layers, method = facts.FIRST
    read = pd.DataFrame({k: margin * rng.uniform(*v, SEEDS) for k, v in own.items()})
    read = read.assign(seed=range(SEEDS), layers=layers, method=method)
    monkeypatch.setattr(equivalence, "reading", lambda *_: read)
    table = equivalence.equivalence(arm)
    assert table[table["update"] == "first epoch"]["equivalent"].all()


def test_one_value_has_a_mean_and_no_test():
    assert set(contrasts.paired(pd.Series([0.5]))) == {"n", "mean"}


def test_claims_are_listed_by_what_all_judging_models_say(arm, monkeypatch):
    assert statistics.judging(arm.run) == [arm]  # no arm has many seeds: the first
    said = {"C0": ("not replicated",) * 2, "C1": ("replicated", "undecided"), "C1a": ("replicated",) * 2}
    said |= {"C5": ("undecided",) * 2}
    rows = [
        {"id": c, "arm": name, "verdict": v}
        for c, vs in said.items()
        for name, v in zip("ab", vs, strict=True)
    ]
    rows.append({"id": "C1a", "arm": "sgd", "verdict": "not replicated"})
    monkeypatch.setattr(statistics, "judging", lambda _: [SimpleNamespace(name=name) for name in "ab"])
    monkeypatch.setattr(statistics, "verdicts", lambda _: rows)
    found = statistics.holding(arm.run)
    assert found == {"replicated": ["C1a"], "not replicated": ["C0"], statistics.DEPENDS: ["C1", "C5"]}
    first, second, _ = statistics.holding_list(arm.run).splitlines()
    assert "all of 2 arms" in first
    assert "C1a, *First-epoch gradients forget" in first
    assert "C0, *" in second
