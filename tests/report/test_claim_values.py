"""Each claim's contrast in every seed: on made-up readings, and in worlds of known truth."""

import numpy as np
import pandas as pd
import pytest
from planted_run import World, standing

from unlearnkit import claims
from unlearnkit.report import claim_values, contrasts
from unlearnkit.report.readings import along, path_table, reading


@pytest.fixture
def forgotten(monkeypatch):
    """Two paths at matched forgetting in three seeds, of whose facts all is worth 2 nats."""
    rows = [
        *((0, "a", True, 1.25), (0, "b", True, 1.5)),
        *((1, "a", True, 1.25), (1, "b", False, 0.1)),
        *((2, "a", True, 9.0), (2, "b", False, 3.0)),
    ]
    table = pd.DataFrame(rows, columns=["seed", "method", "reached", "damage"]).assign(layers="all")
    table["oracle_distance"] = 1.0

    def reading(arm, kind, level, layers, methods):
        assert kind == "forgetting"
        return table[(table["layers"] == layers) & table["method"].isin(methods)]

    monkeypatch.setattr(claim_values, "reading", reading)
    monkeypatch.setattr(claim_values, "thrown_away", lambda arm: pd.DataFrame({"damage": [2.0, 2.0, 2.0]}))


def test_a_path_that_never_forgets_costs_all_that_was_taught_and_none_costs_more(forgotten):
    assert list(claim_values.cost(None, ("all", "a"))) == pytest.approx([1.25, 1.25, 2.0])
    assert list(claim_values.cost(None, ("all", "b"))) == pytest.approx([1.5, 2.0, 2.0])
    assert claim_values.cost(None, ("all", "unknown")).empty


def test_uncharged_it_has_cost_what_it_had_by_its_end(forgotten):
    assert list(claim_values.cost(None, ("all", "b"), charged=False)) == pytest.approx([1.5, 0.1, 2.0])


def test_a_pair_lies_between_its_bounds(forgotten, monkeypatch):
    pairs = {
        "C1": (("all", "b"), ("all", "a")),
        "C5": (("all", "a"), ("all", "b")),
        "C2a": (("x", "a"), ("x", "b")),
    }
    monkeypatch.setattr(claim_values, "PAIRS", pairs)
    found = {c: claim_values.compared(None, c, "forgetting") for c in ("C1", "C5")} | {"C4": "whole"}
    monkeypatch.setattr(claim_values, "claim_values", lambda arm: found)
    least, most = claim_values.bounds.__wrapped__(None)
    assert list(found["C1"]) == pytest.approx([0.25, 0.75, 0.0])
    assert list(least["C1"]) == pytest.approx([0.25, -1.15, 0.0])  # b had cost 0.1 where it ended
    assert list(most["C1"]) == pytest.approx([0.25, 0.75, 0.0])
    assert list(most["C5"]) == pytest.approx([-0.25, 1.15, 0.0])
    assert least["C4"] == most["C4"] == "whole"
    assert set(least) == {"C1", "C5", "C4"}


def test_a_claim_is_told_too_short_where_no_path_of_it_forgets_in_half_of_the_seeds(forgotten):
    own = claim_values._gets_there
    paths = {name: ("all", name) for name in ("a", "b", "unknown")}
    assert own(None, (paths["a"],))
    assert not own(None, (paths["b"],))  # one of three
    assert own(None, (paths["b"], paths["a"]))
    assert own(None, (paths["unknown"],))


def test_where_no_path_forgets_there_is_neither_a_verdict_nor_an_estimate(arm, monkeypatch):
    assert not claim_values.too_short(arm)
    claim_values.too_short.cache_clear()
    monkeypatch.setattr(claim_values, "_gets_there", lambda arm, paths: claim_values.FIRST not in paths)
    rows = {row["id"]: row for row in contrasts.verdicts(arm.run)}
    claim_values.too_short.cache_clear()
    short = {i for i, row in rows.items() if row["verdict"] == claims.NO_VERDICT}
    assert short == {*claim_values.BY_FIRST, "C1", "C1a", "C1b", "C2a"}
    assert all(np.isnan(rows[i]["estimate"]) and rows[i]["ci_low"] is None for i in short)
    assert rows["C5"]["verdict"] != claims.NO_VERDICT


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=3) as run:
        yield run.arms[0]


def test_every_claim_has_a_number_a_seed_at_the_primary_reading(arm):
    found = claim_values.claim_values(arm)
    assert list(found) == [claim.id for claim in claims.CLAIMS]
    assert {len(values) for values in found.values()} == {3}


def test_other_readings_compare_distances(arm):
    more, less = claim_values.PAIRS["C1"]
    for kind in ("damage", "closest"):
        sides = [
            reading(arm, kind, None, path[0], (path[1],)).set_index("seed")["oracle_distance"]
            for path in (more, less)
        ]
        assert list(claim_values.claim_values(arm, kind)["C1"]) == pytest.approx(list(sides[0] - sides[1]))


def test_throwing_away_costs_what_training_taught(arm):
    trained = arm.observations("train").query("metric == 'nll' and seed == 1")
    retain = {e.id for e in arm.settings[1].retain()}
    by_epoch = trained[trained["example"].isin(retain)].groupby("epoch")["value"].mean()
    lost = by_epoch[by_epoch.index.min()] - by_epoch[by_epoch.index.max()]
    assert claim_values.thrown_away(arm).loc[1, "damage"] == pytest.approx(lost)


def test_influence_is_told_in_standard_deviations_of_the_facts(arm):
    pairs = claim_values.influence_pairs(arm, "influence_activation", "first_epoch_forgotten")
    for seed, rows in pairs.groupby("seed"):
        sd = np.sqrt((rows["before"].var() + rows["after"].var()) / 2)
        expected = (rows["before"].mean() - rows["after"].mean()) / sd
        assert claim_values.claim_values(arm)["C3a"][seed] == pytest.approx(expected)


def test_a_score_that_falls_past_the_oracle_s_is_no_nearer(monkeypatch):
    """From 4 to 1, where the oracle has 3: the score falls by 3, and is farther from the goal by 1."""
    rows = [(0, "x", 4.0, 1.0), (0, "y", 6.0, 3.0)]
    after = {"close": rows, "oracle": [(0, "x", 4.0, 3.0), (0, "y", 6.0, 5.0)]}

    def pairs(arm, metric, method):
        return pd.DataFrame(after[method], columns=["seed", "example", "before", "after"])

    monkeypatch.setattr(claim_values, "influence_pairs", pairs)
    sd = 2**0.5
    assert claim_values.fall(None, "score", "close")[0] == pytest.approx(3 / sd)
    assert claim_values.nearer(None, "score", "close")[0] == pytest.approx((1 - 2) / sd)


def test_the_whole_path_is_judged_by_its_worst_step(arm):
    found = claim_values.claim_values(arm)
    for seed, path in along(path_table(arm), "first_epoch").groupby("seed"):
        worst = path["oracle_distance"].max() - path["oracle_distance"].iloc[0]
        assert found["C4"][seed] == pytest.approx(worst)
        assert found["C4a"][seed] == pytest.approx(path["forget_nll"].iloc[0] - path["forget_nll"].min())
