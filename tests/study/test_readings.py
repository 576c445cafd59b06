"""Readings: matched damage, the closest approach, and where a path starts."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit.study.readings import at, closest, crossing, curve, damages, distances, start


def path_frame(retain):
    """A path of one forget and one retain fact; step k has length k."""
    rows = []
    for k, (forget, kept) in enumerate(zip([1.0, 2.0, 4.0, 8.0], retain, strict=True)):
        method = "first_epoch" if k else "finetuned"
        common = {"method": method, "layers": "all", "norm": float(k), "metric": "nll"}
        rows.append({**common, "example": "f", "split": "forget", "value": forget})
        rows.append({**common, "example": "r", "split": "retain", "value": kept})
        rows.append({**common, "example": "", "split": "utility", "value": 99.0})
    return pd.DataFrame(rows)


def test_matched_damage_is_the_first_crossing_interpolated():
    path = path_frame([1.0, 0.9, 1.1, 5.0])
    norm, crossed = crossing(damages(path, "first_epoch", "all"), 0.05)
    assert crossed
    assert norm == pytest.approx(1 + 0.15 / 0.2)  # from -0.1 at length 1 to +0.1 at length 2
    assert at(curve(path, "first_epoch", "all", "forget"), norm) == pytest.approx(2 + 0.75 * 2)


def test_an_arm_that_never_crosses_is_read_at_its_end_and_marked():
    path = path_frame([1.0, 1.0, 1.0, 1.01])
    assert crossing(damages(path, "first_epoch", "all"), 0.05) == (3.0, False)


def test_a_curve_that_begins_at_the_level_crosses_it_there():
    assert crossing(pd.Series([0.0, 1.0], index=[2.0, 3.0]), 0.0) == (2.0, True)


def test_a_path_starts_from_the_last_observations_of_what_it_scores():
    rows = [
        {"example": e, "split": s, "metric": "nll", "value": v, "epoch": epoch, "method": "finetuned"}
        for epoch, v in ((0, 5.0), (8, 1.0))
        for e, s in (("f", "forget"), ("r", "retain"), ("unscored", "retain"), ("", "utility"))
    ]
    rows.append({"metric": "training_loss", "value": 3.0, "step": 0, "method": "finetuned"})
    begin = start(pd.DataFrame(rows), {"f", "r"})
    assert begin["example"].tolist() == ["f", "r", ""]
    assert set(begin["value"]) == {1.0}
    assert set(begin["norm"]) == {0.0}


def test_between_two_steps_every_fact_is_linear_and_the_distance_is_not():
    nll = pd.DataFrame({"a": [1.0, 5.0], "b": [2.0, 2.0]}, index=[0.0, 1.0])
    target = pd.Series({"a": 3.0, "b": 2.0, "unread": 9.0})
    assert distances(nll, target, [0.0, 0.5, 0.75]) == pytest.approx([1.0, 0.0, 0.5])
    assert np.isnan(distances(nll, target[["unread"]], [0.5])).all()


def test_a_fact_that_was_passed_over_is_linear_across_the_gap():
    nll = pd.DataFrame({"a": [0.0, np.nan, 4.0], "b": [0.0, 1.0, 2.0]}, index=[0.0, 1.0, 2.0])
    assert distances(nll, pd.Series({"a": 0.0, "b": 0.0}), [1.0]) == pytest.approx([1.5])


def test_the_closest_approach_is_at_a_fact_that_meets_its_oracle():
    """|4x - 1| + |x - 1| over two facts is least at 1/4, between the steps."""
    nll = pd.DataFrame({"a": [0.0, 4.0, 8.0], "b": [0.0, 1.0, 2.0]}, index=[0.0, 1.0, 2.0])
    target = pd.Series({"a": 1.0, "b": 1.0})
    assert closest(nll, target) == pytest.approx(0.25)
    assert closest(nll, target + 100) == 2.0  # falls to the end
    assert closest(nll, target - 100) == 0.0  # rises from the start
    assert np.isnan(closest(nll, pd.Series({"other": 1.0})))
