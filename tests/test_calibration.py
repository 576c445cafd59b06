"""Calibration on paths with known answers: re-exposure, stopping rules, stale against fresh gradients."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from unlearnkit import profiles
from unlearnkit.plots import calibration as drawing
from unlearnkit.study.results import along, calibration, stopping
from unlearnkit.study.results import matched as reading
from unlearnkit.tables import calibration as tabled
from unlearnkit.tables.claim_lines import claim_lines

MOVED = 10.0  # ||theta_T - theta_0||
ORACLE = 4.0  # the oracles' mean forget NLL
SHARES = (0.1, 0.2, 0.4)


def walk(seed: int, method: str, nll: tuple[float, ...], damage: tuple[float, ...], layers="all", **more):
    """One path in the columns of `results.path_table`; the start has NLL 1 and memorisation 0.9."""
    shares = SHARES[: len(nll)]
    frame = pd.DataFrame({"share": shares, "forget_nll": nll, "damage": damage})
    frame["exact_memorisation"] = 0.9 - 2 * frame["share"]
    frame["norm"] = more.get("norm", frame["share"] * MOVED)
    return frame.assign(seed=seed, method=method, layers=layers)


def table(paths: list[pd.DataFrame]) -> pd.DataFrame:
    seeds = sorted({p["seed"].iloc[0] for p in paths})
    start = pd.DataFrame({"seed": seeds, "method": "finetuned", "layers": "all"})
    start = start.assign(share=0.0, norm=0.0, forget_nll=1.0, damage=0.0, exact_memorisation=0.9)
    whole = pd.concat([start, *paths], ignore_index=True)
    gap = whole["forget_nll"] - ORACLE
    whole = whole.assign(oracle_gap=gap, oracle_distance=gap.abs(), bystander_damage=whole["damage"])
    return whole.assign(perplexity_ratio=1 + whole["damage"], rougeL_recall=np.nan)


def close_ups(seeds: int, holdout: bool = True) -> pd.DataFrame:
    """Close-ups of theta_T: ROUGE of one forget fact, and two never-trained facts."""
    rows = []
    for seed in range(seeds):
        rows.append((seed, "finetuned", "forget", "a", "rougeL_recall", 0.5 + seed / 10))
        if holdout:
            for fact, memorisation, nll in (("x", 0.2, 2.0), ("y", 0.4, 4.0)):
                rows.append((seed, "finetuned", "holdout", fact, "exact_memorisation", memorisation))
                rows.append((seed, "finetuned", "holdout", fact, "nll", nll))
                rows.append((seed, "first_epoch", "holdout", fact, "nll", 99.0))
    return pd.DataFrame(rows, columns=["seed", "method", "split", "example", "metric", "value"])


PATHS = [
    *(walk(s, "first_epoch", (0.9 - s / 10, 2.0, 6.0), (0.02, 0.1, 1.0)) for s in range(3)),
    *(walk(s, "recomputed", (2.0, 3.0 + s), (0.05, 0.4), norm=[1.0, 1.5]) for s in range(3)),
    *(walk(s, "wrong_person", (1.0, 1.5), (0.2, 0.5)) for s in range(3)),
    *(walk(s, "first_epoch", (1.5, 2.0, 3.0), (0.0, 0.0, 0.0), "embedding") for s in range(3)),
    walk(0, "epoch_2", (1.2, 1.1, 0.7), (0.0, 0.1, 0.2)),  # walked by one seed only
]


@pytest.fixture
def given(monkeypatch):
    """`given(paths, close-ups)`: what the readings find in place of a run."""

    def give(paths=PATHS, looks=None) -> None:
        looks = close_ups(3) if looks is None else looks
        for module in (calibration, stopping):
            monkeypatch.setattr(module, "observations", lambda *_: looks.copy())
        monkeypatch.setattr(calibration, "path_table", lambda *_, **__: table(paths))

        def distance_at(_, arm, where, norm):  # of one fact
            seed, layers, method = where
            path = along(table(paths).query("seed == @seed"), method, layers)
            return abs(np.interp(norm, path["norm"], path["forget_nll"]) - ORACLE)

        monkeypatch.setattr(stopping, "distance_at", distance_at)
        monkeypatch.setattr(calibration, "arm_names", lambda *_: ["arm"])
        vectors = [(s, "all", f"epoch_{e}", 0.1 * (-1) ** e) for s in range(2) for e in (1, 2)]
        vectors = pd.DataFrame(vectors, columns=["seed", "layers", "vector", "with_now"])
        monkeypatch.setattr(calibration.alignment, "vectors", lambda *_: vectors)

    return give


def test_the_start_takes_its_rouge_from_the_close_ups(given):
    given()
    path = calibration.paths_of(None, "arm")
    start = path[path["method"] == "finetuned"]
    assert list(start["rougeL_recall"]) == pytest.approx([0.5, 0.6, 0.7])
    assert (start["rise"] == 0).all()


def test_re_exposure_is_the_lowest_rise_with_its_region(given):
    given()
    found = calibration.exposure(None, "arm").set_index(["layers", "method", "seed"])
    one = found.loc["all", "first_epoch", 1]
    assert one["dip"] == pytest.approx(-0.2)
    assert (one["deepest"], one["since"], one["first_step"]) == (0.1, 0.0, 0.1)
    assert one["until"] == pytest.approx(0.1 + 0.2 / 1.2 * 0.1)
    none = found.loc["all", "wrong_person", 0]
    assert none["dip"] == 0
    assert np.isnan(none["since"])
    late = found.loc["all", "epoch_2", 0]
    assert late["dip"] == pytest.approx(-0.3)
    assert late["since"] == pytest.approx(0.2 + 0.1 / 0.4 * 0.2)
    assert late["until"] == np.inf


def test_dips_over_seeds_count_by_the_claims_margin(given):
    shallow = walk(2, "first_epoch", (0.999, 2.0), (0.0, 0.1))
    given([*(p for p in PATHS if p is not PATHS[2]), shallow])
    first = calibration.dips(calibration.exposure(None, "arm")).iloc[0]
    assert (first["method"], first["n"], first["dipped"], first["mattered"]) == ("first_epoch", 3, 3, 2)
    assert first["mean"] == pytest.approx(-(0.1 + 0.2 + 0.001) / 3)
    assert first["ci_low"] < first["mean"] < first["ci_high"]


def test_epochs_alone_compares_seeds_that_walked_them(given):
    given()
    found = calibration.epochs_alone(None)
    assert list(found["epoch"]) == [1, 2]
    assert list(found["n"]) == [1, 1]
    assert list(found["falling"]) == [2, 0]
    assert list(found["rise"]) == pytest.approx([-0.1, 0.2])
    given(PATHS[:3])
    assert calibration.epochs_alone(None).empty


def test_rules_stop_at_the_first_crossing_interpolated(given):
    given()
    found = stopping.stops(None, "arm").set_index(["layers", "method", "rule", "seed"]).sort_index()
    budget = found.loc["all", "first_epoch", "budget", 0]
    assert budget["share"] == pytest.approx(0.1 + 0.03 / 0.08 * 0.1)
    assert budget["forget_nll"] == pytest.approx(0.9 + 0.03 / 0.08 * 1.1)
    oracle = found.loc["all", "first_epoch", "oracle", 0]
    assert oracle["share"] == pytest.approx(0.3)
    assert oracle["oracle_distance"] == pytest.approx(0)  # not the mean of 2 before and 2 behind
    assert found.loc["all", "first_epoch", "memorisation", 0]["share"] == pytest.approx(0.3)
    assert found.loc["all", "first_epoch", "stranger", 0]["forget_nll"] == pytest.approx(3.0)
    never = found.loc["embedding", "first_epoch", "budget", 0]
    assert not never["met"]
    assert never["share"] == 0.4


def test_perplexity_is_interpolated_in_its_logarithm():
    path = table([walk(0, "first_epoch", (2.0, 3.0), (0.0, 0.0))]).assign(rise=0.0)
    path["perplexity_ratio"] = [1.0, np.nan, 100.0]  # measured at every second step
    where, met = stopping.stop(path, "forget_nll", 2.0)
    assert met
    assert where["perplexity_ratio"] == pytest.approx(10.0)
    assert reading.read(path.assign(rougeL_recall=0.5), 1.0)["perplexity_ratio"] == pytest.approx(10.0)


def test_facts_on_both_sides_are_interpolated_one_by_one(monkeypatch):
    """One fact passes its oracle on the way, another is where it should be all along."""
    walked = pd.DataFrame({"a": [1.0, 5.0], "b": [2.0, 2.0]}, index=[0.0, 1.0])
    monkeypatch.setattr(reading, "fact_paths", lambda *_: {(0, "all", "first_epoch"): walked})
    monkeypatch.setattr(reading, "oracle_nll", lambda *_: pd.DataFrame({0: {"a": 3.0, "b": 2.0}}))
    run = profiles.get("quick")
    assert reading.distance_at(run, "arm", (0, "all", "first_epoch"), 0.5) == pytest.approx(0)
    assert reading.distance_at(run, "arm", (0, "all", "first_epoch"), 1.0) == pytest.approx(1)


def test_a_rule_that_holds_from_the_start_stops_there():
    path = table([walk(0, "first_epoch", (2.0, 3.0), (0.0, 0.0))]).assign(rise=0.0)
    where, met = stopping.stop(path, "exact_memorisation", 0.95, falling=True)
    assert met
    assert where["share"] == 0


def test_without_never_trained_facts_their_rules_are_left_out(given):
    given(looks=close_ups(3, holdout=False))
    assert set(stopping.stops(None, "arm")["rule"]) == {"budget", "oracle"}


def test_rule_contrasts_pair_the_seeds_in_which_both_stop(given):
    given()
    stops = stopping.stops(None, "arm")
    found = stopping.rule_contrasts(stops).set_index("against")
    assert found.loc["budget", "n"] == 3
    assert found.loc["budget", "difference"] == pytest.approx(-2.75, abs=0.2)
    assert found.loc["budget", "wins"] == 3
    assert stopping.rule_contrasts(stops[stops["rule"] == "budget"]).empty


def test_durations_compare_at_the_same_distance(given):
    given()
    found = calibration.durations(None, "arm").set_index(["seed", "duration"])
    row = found.loc[0, 2]
    assert row["distance"] == pytest.approx(0.15)
    assert row["fresh_rise"] == pytest.approx(2.0)
    assert row["stale_rise"] == pytest.approx((-0.1 + 1.0) / 2)
    tests = calibration.duration_contrasts(found.reset_index()).set_index("against")
    assert tests.loc[1, "difference"] == pytest.approx(1.0 + 0.2)  # stale: -0.1, -0.2, -0.3
    assert tests["p_holm"].ge(tests["p"]).all()


@pytest.mark.parametrize("seeds", [1, 3])
def test_figures_and_tables_survive_few_seeds(given, seeds):
    given([p for p in PATHS if p["seed"].iloc[0] < seeds], close_ups(seeds))
    path, stops = calibration.paths_of(None, "arm"), stopping.stops(None, "arm")
    drawing.exposure(path, stops)
    drawing.stop_costs(stops)
    drawing.fresh_and_stale(path[path["layers"] == "all"])
    plt.close("all")
    exposed = calibration.exposure(None, "arm")
    shown = tabled.dips(calibration.dips(exposed), exposed, calibration.slopes(None, "arm"))
    assert shown["cosine at the start"].iloc[0] == "-0.10"
    assert len(tabled.stops(stops)) == 4 * len(set(zip(stops["layers"], stops["method"], strict=True)))
    assert len(tabled.steps(path[calibration.is_path(path, "all", "first_epoch")])) == len(SHARES)


def test_claim_lines_say_what_an_arm_lacks():
    row = {"id": "C4", "arm": "tiny", "verdict": "undecided", "estimate": 0.02, "margin": 0.01, "n_seeds": 1}
    row |= {"ci_low": None, "ci_high": None, "p_holm": None, "detectable": None}
    assert "from 1 seed: no interval" in claim_lines([row], "C4")
    more = row | {"n_seeds": 4, "ci_low": -0.1, "ci_high": 0.1, "p_holm": 0.2, "detectable": 0.05}
    assert "4 seeds could have found 0.050 nats" in claim_lines([more], "C4")
    assert "no path" in claim_lines([row], "C5")
