"""Readings of compared methods, and what they need kept, in a world whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
from planted_methods import DEARNESS, FEW, SEEDS, compared, price
from planted_run import KEPT, TRAINED_IN, World, standing

from unlearnkit.claims.methods import PRINCIPAL
from unlearnkit.report import ch09_methods, side_by_side
from unlearnkit.study import config, trials

pytestmark = pytest.mark.usefixtures("untuned")
PRICED = [m for m, dear in DEARNESS.items() if dear is not None]


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    with compared(tmp_path_factory) as run:
        yield side_by_side.of_run(run)


@pytest.fixture
def arm(arms):
    return arms[0]


def test_every_arm_that_compares_is_there_the_headline_first(arms):
    assert [arm.model for arm in arms] == ["smollm2-135m", "gpt2-tiny-pretrained"]
    for arm in arms:
        assert set(side_by_side.methods(arm)) == set(DEARNESS)
    assert side_by_side.warnings(arms[0].run) is None


def test_fewer_worlds_than_were_registered_are_an_interim_look(arm, monkeypatch):
    given = config.PROFILES["full"] | {"seeds_others": 1}
    told = {"run": "full-01234567", "parameters": given}
    monkeypatch.setattr(arm.run, "manifest", arm.run.manifest | told)
    assert (
        "still to run: the methods that are not principal on the run's own model, 1 of 3 are there. The"
        in side_by_side.warnings(arm.run).data
    )


def test_a_run_that_did_not_look_has_none(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=1) as run:
        assert side_by_side.of_run(run) == []
        assert "compared no methods" in side_by_side.warnings(run).data
        assert side_by_side.methods(run.arms[0]) == []
        assert not len(side_by_side.reading(run.arms[0]))


@pytest.mark.parametrize("method", PRICED)
def test_prices_are_the_planted_ones(arm, method):
    found = side_by_side.summary(arm).loc[method]
    assert found["reached"] == found["seeds"] == (SEEDS if method in PRINCIPAL else FEW)
    assert found["price"] == pytest.approx(price(method), rel=0.12, abs=0.01)
    assert found["ci_low"] < found["price"] < found["ci_high"]
    assert found["utility_rise"] > 0
    oracle = side_by_side.paraphrases(arm)
    assert found["paraphrase_nll"] == pytest.approx(oracle, rel=0.05)  # where it has forgotten as the oracle


def test_what_never_forgets_costs_as_much_as_throwing_the_training_away(arm):
    found, taught = side_by_side.summary(arm), side_by_side.thrown_away(arm)
    for method in ("rmu", "prompt_guard"):
        assert found.loc[method, "reached"] == 0
        assert found.loc[method, "price"] == pytest.approx(taught, rel=0.02)
    assert found["price"].drop(["rmu", "prompt_guard"]).max() < taught


def test_a_path_that_ended_at_once_is_counted(arm, monkeypatch):
    seen = arm.observations("compared")
    told = {"compared": seen[seen["method"] != "npo"], "recorded": arm.observations("recorded")}
    monkeypatch.setattr(type(arm), "observations", lambda _, stage: told[stage])
    path = side_by_side.paths.__wrapped__(arm)["npo", 0]
    assert path.read("forgetting")["price"] == path.world.thrown_away


def test_prices_are_by_seed(arm):
    table = side_by_side.prices(arm)
    assert list(table.index) == list(range(SEEDS))
    assert table["first_epoch"].notna().all()
    assert table["dpo"].notna().sum() == FEW


def test_what_is_kept_follows_from_the_sizes_that_were_measured(arm):
    kept, facts, epochs = side_by_side.kept(arm), len(arm.settings[0].facts), arm.recipe["epochs"]
    record, weights = KEPT["ledger_bytes"] / KEPT["records"], KEPT["weights_bytes"]
    assert kept["first_epoch"] == record * facts
    assert kept["all_epochs"] == kept["kfac_replay"] == record * facts * epochs
    assert kept["adam_replay"] == kept["all_epochs"] + KEPT["moments_bytes"]
    assert kept["retrain"] == kept["msa"] == weights
    assert kept["sisa"] == side_by_side.SHARDED * weights
    assert kept["npo"] == kept["gradient_ascent"] == 0


def test_what_is_kept_is_what_the_tuned_options_read(arm, tmp_path):
    told = [("adam_replay", {"epochs": [2]}), ("single_epoch", {"epoch": 3})]
    told.append(("projected_replay", {"metric": "gradient"}))
    rows = [(method, json.dumps(options), 40, 1.0, True, 1.0, 1.0) for method, options in told]
    columns = ["method", "trial", "seed", "price", "reached", "closest", "seconds"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "smollm2-135m.csv", index=False)
    trials.reread()
    every = list(range(1, arm.recipe["epochs"] + 1))
    assert side_by_side.reads(arm, "adam_replay") == ([2], True)
    assert side_by_side.reads(arm, "single_epoch") == ([3], False)
    assert side_by_side.reads(arm, "projected_replay") == (every, False)
    assert side_by_side.reads(arm, "first_epoch") == ([1], False)
    assert side_by_side.reads(arm, "npo") == ([], False)
    part = KEPT["ledger_bytes"] / KEPT["records"] * len(arm.settings[0].facts)
    assert side_by_side.kept(arm)["adam_replay"] == pytest.approx(part + KEPT["moments_bytes"] / len(every))


def test_without_measured_sizes_nothing_is_said(arm, monkeypatch):
    none = pd.DataFrame({"metric": ["nll"], "value": [1.0]})
    monkeypatch.setattr(type(arm), "observations", lambda *_: none)
    kept = side_by_side.kept.__wrapped__(arm)
    assert np.isnan(kept["first_epoch"])
    assert kept["npo"] == 0


def test_retraining_is_timed_by_the_oracles(arm):
    assert side_by_side.retraining_seconds(arm) == TRAINED_IN


def test_seconds_of_another_device_are_no_measure(arm, monkeypatch):
    costs = arm.run.costs
    there = costs["device"].mask(costs["stage"] == "compared", "cuda (Planted 9)")
    monkeypatch.setitem(vars(arm.run), "costs", costs.assign(device=there))
    assert np.isnan(side_by_side.retraining_seconds(arm))
    assert "retraining takes" not in ch09_methods.note([arm])


def test_sharded_training_keeps_as_many_states_as_the_report_says():
    from inspect import signature

    from unlearnkit.training import Shards

    given = signature(Shards.train).parameters
    assert given["shards"].default * given["slices"].default + 1 == side_by_side.SHARDED
