"""Readings: matched damage, and where a path starts."""

import pandas as pd
import pytest

from unlearnkit.study.readings import at, crossing, curve, damages, start


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
