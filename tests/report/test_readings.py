"""Readings over arms and over seeds: what every chapter's tables are made with."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from given import Given

from unlearnkit.report import readings


def test_tables_of_arms_stand_one_below_the_other():
    run = SimpleNamespace(arms=[Given(name="b", seeds=(0, 1)), Given(name="a")])
    table = readings.of_arms(run, lambda arm: pd.DataFrame({"seed": arm.seeds}))
    assert list(table.itertuples(index=False, name=None)) == [(0, "b"), (1, "b"), (0, "a")]
    assert list(table.index) == [0, 1, 2]


def test_over_seeds_keeps_the_order_of_the_groups_and_tells_mean_and_interval():
    table = pd.DataFrame({"part": list("zzza"), "gain": [1.0, 2.0, 3.0, 0.25], "share": 0.125})
    told = readings.over_seeds(table, "part", {"gain": "closer", "share": "step"}, share=3)
    assert list(told.columns) == ["part", "closer", "step"]
    assert list(told["part"]) == ["z", "a"]
    # Student's t with two degrees of freedom is 4.3027 at 97.5 %; the standard error is 1 / sqrt(3).
    assert told["closer"][0] == f"2.00 [{2 - 4.3027 / 3**0.5:.2f}, {2 + 4.3027 / 3**0.5:.2f}]"
    assert told["closer"][1] == "0.25"  # of one seed no interval
    assert told["step"][1] == "0.125"


def test_over_seeds_leaves_out_what_was_never_measured_and_passes_over_gaps():
    table = pd.DataFrame({"a": [0, 0, 1], "b": [0, 0, 1], "x": [1.0, np.nan, np.nan], "y": np.nan})
    told = readings.over_seeds(table, ["a", "b"], {"x": "known", "y": "never"})
    assert told.to_dict("list") == {"a": [0, 1], "b": [0, 1], "known": ["1.00", "–"]}
