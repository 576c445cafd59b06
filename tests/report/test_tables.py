"""Numbers in words, and tables over seeds."""

import numpy as np
import pandas as pd

from unlearnkit.report import tables


def test_an_estimate_has_its_interval_where_there_is_one():
    assert tables.estimate(0.5) == "+0.50"
    assert tables.estimate(0.5, -0.25, 1.25, ".1f") == "0.5 [-0.2, 1.2]"
    assert tables.estimate(np.nan) == "–"
    table = pd.DataFrame({"mean": [0.5, -1.0], "ci_low": [np.nan, -2.0], "ci_high": [np.nan, 0.0]})
    assert tables.estimates(table) == ["+0.50", "-1.00 [-2.00, +0.00]"]


def test_values_over_seeds_have_a_row_a_group_in_order_of_appearance():
    table = pd.DataFrame({"path": ["b", "b", "b", "a"], "x": [1.0, 2.0, 3.0, 7.0], "y": [np.nan] * 4})
    told = tables.over_seeds(table, "path", {"x": "value", "y": "nothing"}, digits=1)
    assert list(told.columns) == ["path", "value", "nothing"]
    # 2 ± t(2 df, 0.975) / sqrt(3) = 2 ± 2.484
    assert told.to_numpy().tolist() == [["b", "2.0 [-0.5, 4.5]", "–"], ["a", "7.0", "–"]]


def test_extremes_are_those_of_the_values():
    assert tables.mean_and_extremes(pd.Series([0.1, 0.2, 0.6])) == "0.30 (0.10 to 0.60)"
    assert tables.mean_and_extremes(pd.Series([np.nan]), ".0%") == "– (– to –)"
