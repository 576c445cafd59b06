"""Numbers in words, and tables over seeds."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from unlearnkit.report import tables


def test_an_estimate_has_its_interval_where_there_is_one():
    assert tables.estimate(0.5) == "+0.50"
    assert tables.estimate(0.5, -0.25, 1.25, ".1f") == "0.5 [-0.2, 1.2]"
    assert tables.estimate(np.nan) == "–"
    table = pd.DataFrame({"mean": [0.5, -1.0], "ci_low": [np.nan, -2.0], "ci_high": [np.nan, 0.0]})
    assert tables.estimates(table) == ["+0.50", "-1.00 [-2.00, +0.00]"]


def test_over_seeds_keeps_the_order_of_the_groups_and_tells_mean_and_interval():
    table = pd.DataFrame({"part": list("zzza"), "gain": [1.0, 2.0, 3.0, 0.25], "share": 0.125})
    told = tables.over_seeds(table, "part", {"gain": "closer", "share": "step"}, share=3)
    assert list(told.columns) == ["part", "closer", "step"]
    assert list(told["part"]) == ["z", "a"]
    # Student's t with two degrees of freedom is 4.3027 at 97.5 %; the standard error is 1 / sqrt(3).
    assert told["closer"][0] == f"2.00 [{2 - 4.3027 / 3**0.5:.2f}, {2 + 4.3027 / 3**0.5:.2f}]"
    assert told["closer"][1] == "0.25"  # of one seed no interval
    assert told["step"][1] == "0.125"


def test_over_seeds_leaves_out_what_was_never_measured_and_passes_over_gaps():
    table = pd.DataFrame({"a": [0, 0, 1], "b": [0, 0, 1], "x": [1.0, np.nan, np.nan], "y": np.nan})
    told = tables.over_seeds(table, ["a", "b"], {"x": "known", "y": "never"})
    assert told.to_dict("list") == {"a": [0, 1], "b": [0, 1], "known": ["1.00", "–"]}


def test_extremes_are_those_of_the_values():
    assert tables.mean_and_extremes(pd.Series([0.1, 0.2, 0.6])) == "0.30 (0.10 to 0.60)"
    assert tables.mean_and_extremes(pd.Series([np.nan]), ".0%") == "– (– to –)"


def test_times_have_a_unit():
    told = [tables.duration(s) for s in (89, 90, 5400, np.nan)]
    assert told == ["89 s", "2 min", "1.5 h", "–"]


def test_a_long_table_shows_some_rows_and_saves_all(tmp_path):
    run = SimpleNamespace(figures=tmp_path)
    table = pd.DataFrame({"x": range(5)})
    top = tables.show(table, run, "long", "a note.", rows=2).data
    assert top.splitlines()[2:] == [
        *("| 0 |", "| 1 |", ""),
        "*a note. 2 of 5 rows; all are in `figures/tables/long.csv`.*",
    ]
    assert len((tmp_path / "tables/long.csv").read_text().splitlines()) == 6
    assert "| 4 |" in (tmp_path / "tables/long.md").read_text()
    some = tables.show(table, run, "long", rows=table["x"] > 2).data
    assert "| 2 |" not in some
    assert "| 3 |" in some
    whole = tables.show(table, run, "long", "a note.", rows=9).data
    assert whole == tables.show(table, run, "long", "a note.").data  # nothing is left out, nothing to say
