"""Readings over arms and over seeds: what every chapter's tables are made with."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from given import Given

from unlearnkit.errors import DataError
from unlearnkit.report import readings


def test_tables_of_arms_stand_one_below_the_other():
    run = SimpleNamespace(arms=[Given(name="b", seeds=(0, 1)), Given(name="a")])
    table = readings.of_arms(run, lambda arm: pd.DataFrame({"seed": arm.seeds}))
    assert list(table.itertuples(index=False, name=None)) == [(0, "b"), (1, "b"), (0, "a")]
    assert list(table.index) == [0, 1, 2]


# -- one path of two facts: a passes its oracle at norm 2, b at norm 6; damage = norm^2 / 10 ----------------


@pytest.fixture
def arm(monkeypatch):
    """NLL a = norm, b = norm / 3, the oracle at 2 for both; running text measured at 0 and 8 only."""
    norms = [0.0, 1.0, 4.0, 8.0]
    facts = pd.DataFrame({"a": norms, "b": [n / 3 for n in norms]}, pd.Index(norms, name="norm"))
    table = pd.DataFrame({"norm": norms, "share": [n / 100 for n in norms]})
    table = table.assign(seed=0, layers="all", method=["finetuned", *3 * ["first_epoch"]])
    table = table.assign(damage=table["norm"] ** 2 / 10, forget_nll=facts.mean(axis=1).to_numpy())
    table = table.assign(oracle_gap=table["forget_nll"] - 2, oracle_distance=0.0, rougeL_recall=np.nan)
    table["bystander_damage"] = table["damage"]
    table["utility_rise"] = [0.0, np.nan, np.nan, 0.8]
    monkeypatch.setattr(readings, "points", lambda _: table)
    monkeypatch.setattr(readings, "fact_paths", lambda _: {(0, "all", "first_epoch"): facts})
    monkeypatch.setattr(readings, "oracle_nll", lambda *_: pd.DataFrame({0: {"a": 2.0, "b": 2.0}}))
    return Given()


def test_matched_forgetting_is_where_the_mean_meets_the_oracles(arm):
    (row,) = readings.reading(arm, "forgetting").to_dict("records")
    assert (row["norm"], row["reached"]) == (pytest.approx(3.0), True)  # (3 + 1) / 2 = 2
    assert row["damage"] == pytest.approx(0.1 + 2 / 3 * 1.5)  # between 0.1 at 1 and 1.6 at 4
    assert row["oracle_distance"] == pytest.approx(1.0)  # |3 - 2| and |1 - 2|
    assert row["oracle_gap"] == pytest.approx(0.0)
    assert row["utility_rise"] == pytest.approx(0.3)
    assert np.isnan(row["rougeL_recall"])


def test_matched_damage_is_read_at_any_level(arm):
    (row,) = readings.reading(arm, "damage", 0.85).to_dict("records")
    assert (row["norm"], row["reached"]) == (pytest.approx(2.5), True)
    assert row["oracle_distance"] == pytest.approx((0.5 + 2 - 2.5 / 3) / 2)
    (far,) = readings.reading(arm, "damage", 100.0).to_dict("records")
    assert (far["norm"], far["reached"]) == (8.0, False)
    crossed = readings.matched_damage(arm, 0.85).iloc[0]
    assert (crossed["norm"], crossed["crossed"]) == (pytest.approx(2.5), True)


def test_the_closest_approach_may_lie_between_two_steps(arm):
    """(|n - 2| + |n / 3 - 2|) / 2 falls up to n = 2 and rises from there."""
    (row,) = readings.reading(arm, "closest").to_dict("records")
    assert (row["norm"], row["reached"]) == (pytest.approx(2.0), True)
    assert row["oracle_distance"] == pytest.approx((2 - 2 / 3) / 2)
    assert row["damage"] == pytest.approx(0.6)


def test_a_path_that_never_forgets_says_so_and_is_read_where_it_costs_most(arm, monkeypatch):
    table = readings.points(arm).assign(oracle_gap=-1.0)
    table["damage"] = [0.0, 0.1, 3.0, 1.0]
    monkeypatch.setattr(readings, "points", lambda _: table)
    (row,) = readings.reading(arm, "forgetting").to_dict("records")
    assert (row["norm"], row["reached"], row["damage"]) == (4.0, False, 3.0)


def test_readings_are_chosen_by_layers_and_method_and_others_are_refused(arm):
    assert len(readings.reading(arm, "closest", None, "all", ("first_epoch",))) == 1
    assert readings.reading(arm, "closest", layers="last2").empty
    with pytest.raises(DataError, match="no reading 'nearest'; choose from forgetting, damage, closest"):
        readings.reading(arm, "nearest")
