"""Readings over arms and over seeds: what every chapter's tables are made with."""

from types import SimpleNamespace

import pandas as pd
from given import Given

from unlearnkit.report import readings


def test_tables_of_arms_stand_one_below_the_other():
    run = SimpleNamespace(arms=[Given(name="b", seeds=(0, 1)), Given(name="a")])
    table = readings.of_arms(run, lambda arm: pd.DataFrame({"seed": arm.seeds}))
    assert list(table.itertuples(index=False, name=None)) == [(0, "b"), (1, "b"), (0, "a")]
    assert list(table.index) == [0, 1, 2]
