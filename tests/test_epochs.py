"""Every epoch alone, at equal damage."""

import pandas as pd
import pytest

from unlearnkit.study.results import epochs


def test_changes_are_taken_from_each_seeds_own_start_over_the_same_seeds(monkeypatch):
    """Seed 1 lacks epoch 2, so that only seed 0 counts."""
    rows = [
        ("all", 0, "first_epoch", 3.0), ("all", 0, "epoch_2", 2.5), ("all", 0, "all_epochs", 2.0),
        ("all", 1, "first_epoch", 9.0), ("all", 1, "all_epochs", 8.0), ("last2", 0, "first_epoch", 1.0),
    ]  # fmt: skip
    readings = pd.DataFrame(rows, columns=["layers", "seed", "method", "oracle_distance"])
    begin = pd.DataFrame({"seed": [0, 1], "oracle_distance": [4.0, 10.0]})
    arm = type("Arm", (), {"recipe": {"epochs": 2}})
    monkeypatch.setattr(epochs, "arm_of", lambda *_: arm)
    monkeypatch.setattr(epochs, "matched_damage", lambda *_, **__: readings)
    monkeypatch.setattr(epochs, "path_table", lambda *_, **__: begin)
    table = epochs.by_epoch(None, "arm")
    assert table["epoch"].tolist() == ["1", "2", "all"]
    assert table["change"].tolist() == pytest.approx([-1.0, -1.5, -2.0])
    assert set(table["n"]) == {1}
    assert table["ci_low"].isna().all()
