"""Chapter 05 on paths with known answers: re-exposure, stopping rules, fresh gradients, duration."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unlearnkit.report import ch05_calibration as calibration
from unlearnkit.report import ch05_stopping as stopping
from unlearnkit.report import readings

MOVED = 10.0  # ||theta_T - theta_0||
ORACLE = 4.0  # the oracles' mean forget NLL
SHARES = (0.1, 0.2, 0.4)
COLUMNS = ["seed", "method", "split", "example", "metric", "value"]
MEMORISATION, BOTH = stopping.FIRST, stopping.JANG
NLL, BUDGET = "NLL as of held-out facts", "retain budget"
EXTRACTION = "extraction as of held-out facts"


class Made:
    """An arm with a path table and observations that are made up."""

    def __init__(self, paths=(), seeds=3, **stages):
        self.table, self.stages = table(paths) if paths else None, stages
        self.seeds = tuple(range(seeds))
        self.settings = [setting(s) for s in self.seeds]
        self.run = SimpleNamespace(damage=0.05, margin=0.0)

    def observations(self, stage):
        return self.stages.get(stage, pd.DataFrame(columns=COLUMNS)).copy()


def setting(seed):
    return SimpleNamespace(seed=seed, control=("other",))


def walk(seed, method, nll, damage, layers="all", norm=None):
    """One path in the columns of `path_table`; the start has NLL 1 and memorisation 0.9."""
    frame = pd.DataFrame({"share": SHARES[: len(nll)], "forget_nll": nll, "damage": damage})
    frame["exact_memorisation"] = 0.9 - 2 * frame["share"]
    frame["norm"] = frame["share"] * MOVED if norm is None else norm
    return frame.assign(seed=seed, method=method, layers=layers)


def table(paths):
    seeds = sorted({p["seed"].iloc[0] for p in paths})
    start = pd.DataFrame({"seed": seeds, "method": "finetuned", "layers": "all"})
    start = start.assign(share=0.0, norm=0.0, forget_nll=1.0, damage=0.0, exact_memorisation=0.9)
    whole = pd.concat([start, *paths], ignore_index=True)
    gap = whole["forget_nll"] - ORACLE
    whole = whole.assign(oracle_gap=gap, oracle_distance=gap.abs(), rise=whole["forget_nll"] - 1)
    return whole.assign(utility_rise=np.log1p(whole["damage"]), rougeL_recall=np.nan)


def close_ups(seeds=3):
    """Two held-out facts as theta_T knows them, and as another model does."""
    rows = []
    for seed in range(seeds):
        for fact, memorisation, nll in (("x", 0.2, 2.0), ("y", 0.4, 4.0)):
            rows.append((seed, "finetuned", "holdout", fact, "exact_memorisation", memorisation))
            rows.append((seed, "finetuned", "holdout", fact, "nll", nll))
            rows.append((seed, "first_epoch", "holdout", fact, "nll", 99.0))
    return pd.DataFrame(rows, columns=COLUMNS)


PATHS = [
    *(walk(s, "first_epoch", (0.9 - s / 10, 2.0, 9.0), (0.02, 0.1, 1.0)) for s in range(3)),
    *(walk(s, "recomputed", (2.0, 3.0 + s), (0.05, 0.4), norm=[1.0, 1.5]) for s in range(3)),
    *(walk(s, "wrong_person", (1.0, 1.5), (0.2, 0.5)) for s in range(3)),
    *(walk(s, "first_epoch", (1.5, 2.0, 3.0), (0.0, 0.0, 0.0), "embedding") for s in range(3)),
    walk(0, "epoch_2", (1.2, 1.1, 0.7), (0.0, 0.1, 0.2)),  # walked by one seed only
]


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    monkeypatch.setattr(readings, "points", lambda arm: arm.table.copy())

    def distance_at(arm, where, norm):  # of one fact
        seed, layers, method = where
        path = readings.along(arm.table[arm.table["seed"] == seed], method, layers)
        return abs(np.interp(norm, path["norm"], path["forget_nll"]) - ORACLE)

    monkeypatch.setattr(stopping, "distance_at", distance_at)
    vectors = [(s, "all", f"epoch_{e}", 0.1 * (-1) ** e) for s in range(2) for e in (1, 2)]
    vectors = pd.DataFrame(vectors, columns=["seed", "layers", "vector", "with_now"])
    monkeypatch.setattr(calibration, "vectors", lambda arm: vectors)


def test_re_exposure_has_two_readings():
    found = calibration.exposure(Made(PATHS)).set_index(["layers", "method", "seed"])
    one = found.loc["all", "first_epoch", 1]
    assert (one["dip"], one["first_step"]) == (pytest.approx(-0.2), 0.1)
    # D_F starts at 3 and is 3.2 at the first step: farther by the margin after half of the way
    assert one["farther"] == pytest.approx(0.1 * 0.1 / 0.2)
    none = found.loc["all", "wrong_person", 0]
    assert none["dip"] == 0
    assert np.isnan(none["farther"])
    over = calibration.exposure(Made([walk(0, "first_epoch", (2.0, 3.0, 9.0), (0, 0, 0))])).iloc[0]
    assert (over["dip"], over["farther"]) == (0, pytest.approx(0.2 + 0.2 * 2.1 / 4))  # D_F: 1 to 5 there


def test_every_ascent_is_asked_both_questions():
    arm = Made(PATHS)
    arm.name = "made"
    table = calibration.both_ways(SimpleNamespace(arms=[arm])).set_index(["method", "seed"])
    stored, fresh = table.loc["first_epoch", 1], table.loc["recomputed", 0]
    assert (stored["farther"], stored["falls"]) == (pytest.approx(2.0), pytest.approx(0.2))
    assert (stored["met"], fresh["met"]) == (True, False)
    assert (fresh["farther"], fresh["falls"], fresh["end"]) == (0, 0, 0.2)
    assert set(table.index.unique("method")) == {"first_epoch", "recomputed"}


def test_the_grid_is_of_steps_that_all_seeds_looked_at():
    path = pd.DataFrame({"seed": [0, 0, 1, 1], "share": [0.0, 0.1, 0.0, 0.13]})
    assert calibration.grid(path) == {0.0}


def test_paths_are_named_and_ordered_and_tell_where_they_point():
    found = calibration.exposure(Made(PATHS)).drop_duplicates("path").set_index("path")
    names = ["first epoch's gradients", "gradients recomputed at every step"]
    names.append("first epoch's gradients, embedding only")
    assert list(found.index) == [*names, "wrong person's gradients", "epoch 2's gradients"]
    assert found["cosine"].loc["first epoch's gradients"] == pytest.approx(-0.1)  # the mean of both seeds
    assert found["cosine"].isna().sum() == 3  # no such vector, or of all layers only


def test_the_margin_is_that_of_the_claim_or_the_readers():
    arm = Made(PATHS)
    assert calibration.margin(arm.run) == 0.1
    arm.run.margin = 0.15
    assert calibration.margin(arm.run) == 0.15
    # D_F grows from 3 by 0.2 over the first tenth of the way: by 0.15 after three quarters of that
    one = calibration.exposure(arm).set_index(["path", "seed"]).loc["first epoch's gradients", 1]
    assert one["farther"] == pytest.approx(0.075)


def test_epochs_alone_compares_seeds_that_walked_them():
    found = calibration.epochs_alone(Made(PATHS))
    assert list(found["epoch"]) == [1, 2]
    assert list(found["seed"]) == [0, 0]
    assert list(found["step"]) == [0.1, 0.1]
    assert list(found["change"]) == pytest.approx([-0.1, 0.2])
    assert list(found["cosine"]) == pytest.approx([-0.1, 0.1])
    assert calibration.epochs_alone(Made(PATHS[:3])).empty


def test_rules_stop_at_the_first_crossing_interpolated():
    arm = Made(PATHS, portraits=close_ups())
    found = stopping.stops(arm, calibration.paths_of(arm))
    found = found.set_index(["layers", "method", "rule", "seed"]).sort_index()
    budget = found.loc["all", "first_epoch", BUDGET, 0]
    assert budget["share"] == pytest.approx(0.1 + 0.03 / 0.08 * 0.1)
    assert budget["rise"] == pytest.approx(-0.1 + 0.03 / 0.08 * 1.1)
    oracle = found.loc["all", "first_epoch", stopping.BEST, 0]
    assert oracle["share"] == pytest.approx(0.2 + 0.2 * 2 / 7)
    assert oracle["oracle_distance"] == pytest.approx(0)  # not a mean of 2 before and 5 behind
    assert found.loc["all", "first_epoch", MEMORISATION, 0]["share"] == pytest.approx(0.3)
    assert found.loc["all", "first_epoch", NLL, 0]["rise"] == pytest.approx(3.0 - 1)
    never = found.loc["embedding", "first_epoch", BUDGET, 0]
    assert not never["met"]
    assert never["share"] == 0.4


def test_perplexity_is_interpolated_in_its_logarithm():
    arm = Made([walk(0, "first_epoch", (2.0, 3.0), (0.0, 0.1))], seeds=1)
    arm.table["utility_rise"] = [0.0, np.nan, np.log(100.0)]  # measured at every second step
    arm.run.damage = 1e-9
    shown = stopping.stop_table(stopping.stops(arm, arm.table)).set_index("stop at")
    assert shown.loc[BUDGET, "perplexity, × start"] == "10.00"


def test_facts_on_both_sides_are_interpolated_one_by_one(monkeypatch):
    """One fact passes its oracle on the way, another is where it should be all along."""
    walked = pd.DataFrame({"a": [1.0, 5.0], "b": [2.0, 2.0]}, index=[0.0, 1.0])
    monkeypatch.setattr(readings, "fact_paths", lambda arm: {(0, "all", "first_epoch"): walked})
    monkeypatch.setattr(readings, "oracle_nll", lambda arm, seed: pd.DataFrame({0: {"a": 3.0, "b": 2.0}}))
    assert readings.distance_at(None, (0, "all", "first_epoch"), 0.5) == pytest.approx(0)
    assert readings.distance_at(None, (0, "all", "first_epoch"), 1.0) == pytest.approx(1)


def test_a_rule_that_holds_from_the_start_stops_there():
    arm = Made([walk(0, "first_epoch", (2.0, 3.0), (0.0, 0.0))], seeds=1, portraits=close_ups(1))
    arm.stages["portraits"]["value"] += 0.9  # held-out facts are memorised better
    found = stopping.stops(arm, arm.table).set_index("rule").loc[MEMORISATION]
    assert (found["met"], found["share"]) == (True, 0)


def test_without_held_out_facts_their_rules_are_left_out():
    arm = Made(PATHS)
    assert set(stopping.stops(arm, arm.table)["rule"]) == {BUDGET, stopping.BEST}


def test_fresh_and_stored_gradients_are_compared_at_the_same_distance():
    tests = calibration.fresh_minus_stored(Made(PATHS)).set_index("against")
    assert tests.loc[1, "difference"] == pytest.approx(1.0 + 0.2)  # stored: -0.1, -0.2, -0.3
    assert tests.loc[2, "difference"] == pytest.approx(3.0 - (1.0 - 0.2) / 2)  # half-way to the second step
    assert tests["p_holm"].ge(tests["p"]).all()
    assert calibration.fresh_minus_stored(Made(PATHS[:3])).empty


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_table_of_stops_survives_few_seeds(seeds):
    arm = Made([p for p in PATHS if p["seed"].iloc[0] < seeds], seeds, portraits=close_ups(seeds))
    listed = stopping.stop_table(stopping.stops(arm, calibration.paths_of(arm)))
    assert len(listed) == 4 * 4  # rules and paths: every path of `calibration.PATHS` that was walked
    fresh = listed.set_index(["path", "stop at"]).loc["gradients recomputed at every step"]
    assert fresh.loc[BUDGET, "reached in"] == f"{seeds} of {seeds}"
    assert fresh.loc[BUDGET, "retain damage"].startswith("0.05")
    assert stopping.stop_table(stopping.stops(arm, arm.table.iloc[:0])).empty


def test_a_mean_that_rounds_to_nothing_has_no_sign():
    arm = Made([walk(0, "first_epoch", (2.0, 5.0), (0.0, 0.1))], seeds=1)
    stops = stopping.stops(arm, arm.table).assign(oracle_gap=-1e-12)
    assert set(stopping.stop_table(stops)["past the oracle by"]) == {"0.00"}


# -- while it lasts -------------------------------------------------------------------------------------


@pytest.fixture
def followed():
    """Two seeds whose forget facts lose likelihood, memorisation and extraction at known places."""
    rows = []

    def point(seed, method, share, known, nll):
        where = (seed, method, "all", share, MOVED * share)
        values = {"nll": nll, "exact_memorisation": known, "extraction_likelihood": known / 2}
        values |= {"influence_activation": nll, "influence_gradient": -nll}
        rows.extend((*where, "forget", "f", m, v) for m, v in values.items())
        rows.append((*where, "retain", "kept", "nll", 1 + share))
        rows.extend((*where, "retain", "other", s, 7.0) for s in stopping.SCORES)

    for seed in (0, 1):
        point(seed, "finetuned", 0.0, 0.9, 1.0)
        rows.append((seed, "finetuned", "all", 0.0, 0.0, "holdout", "h", "extraction_likelihood", 0.1))
        point(seed, "first_epoch", 0.01, 0.5, 1.5)
        point(seed, "first_epoch", 0.02, 0.1, 3.0)
        point(seed, "recomputed", 0.01, 0.3, 2.0)
    columns = ["seed", "method", "layers", "share", "norm", "split", "example", "metric", "value"]
    close = [(s, "finetuned", "holdout", "h", "exact_memorisation", 0.3) for s in (0, 1)]
    durations, portraits = pd.DataFrame(rows, columns=columns), pd.DataFrame(close, columns=COLUMNS)
    return Made(seeds=2, durations=durations, portraits=portraits)


def test_a_path_is_followed_from_the_common_start(followed):
    found = stopping.followed(followed)
    mine = readings.along(found[found["seed"] == 1], "first_epoch")
    assert list(mine["share"]) == [0, 0.01, 0.02]
    assert list(mine["rise"]) == [0, 0.5, 2.0]
    assert list(mine["damage"]) == pytest.approx([0, 0.01, 0.02])
    assert list(mine["influence_gradient"]) == [-1.0, -1.5, -3.0]
    assert set(mine["influence_activation_control"]) == {7.0}
    assert stopping.followed(Made()).empty


def test_rules_stop_where_the_held_out_facts_are(followed):
    found = stopping.stops(followed, stopping.followed(followed))
    assert stopping.BEST not in set(found["rule"])  # no oracle's mark along these
    one = found[(found["seed"] == 0) & (found["method"] == "first_epoch")].set_index("rule")
    assert one.loc[MEMORISATION, "share"] == pytest.approx(0.015)  # 0.5 to 0.1 passes 0.3 half-way
    assert one.loc[EXTRACTION, "share"] == pytest.approx(0.0175)  # 0.25 to 0.05: 0.1 after three quarters
    assert one.loc[BOTH, "share"] >= one.loc[EXTRACTION, "share"]
    assert one.loc[[MEMORISATION, EXTRACTION, BOTH], "met"].all()
    fresh = found[(found["seed"] == 0) & (found["method"] == "recomputed")].set_index("rule")
    assert fresh.loc[MEMORISATION, "met"]
    assert not fresh.loc[BOTH, "met"]
    assert fresh.loc[BOTH, "share"] == 0.01


def test_the_table_says_both_paths(followed):
    listed = stopping.stop_table(stopping.stops(followed, stopping.followed(followed)))
    assert set(listed["path"]) == {"first epoch's gradients", "gradients recomputed at every step"}
    assert set(listed.loc[listed["stop at"] == BOTH, "reached in"]) == {"2 of 2", "0 of 2"}
