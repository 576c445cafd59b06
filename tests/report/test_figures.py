"""Figures and tables from small made-up numbers: they draw, are the same every time, and survive one seed."""

import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from unlearnkit.report import figures, paths, tables


def path_table(seeds: int) -> pd.DataFrame:
    """Two methods that forget at different speed; columns as `readings.path_table` gives them."""
    rows = []
    for seed, (method, speed) in itertools.product(range(seeds), (("first_epoch", 1), ("all_epochs", 2))):
        for share in (0.01, 0.1, 0.2):
            rise = speed * share * 20 + seed * 0.1
            rows.append({"seed": seed, "method": method, "share": share, "forget_nll": 0.2 + rise})
    rows += [{"seed": s, "method": "finetuned", "share": 0.0, "forget_nll": 0.2} for s in range(seeds)]
    table = pd.DataFrame(rows)
    rise = table["forget_nll"] - 0.2
    return table.assign(
        layers="all",
        retain_nll=0.2 + rise / 3,
        rise=rise,
        damage=rise / 3,
        bystander_damage=rise / 3,
        alpha_lr=table["share"] * 1000,
        oracle_distance=(5 - rise).abs(),
        oracle_gap=rise - 5,
        rougeL_recall=1 / (1 + rise),
        utility_rise=np.log1p(rise),
    )


def oracles(seeds: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "forget_nll": [5.0 + s / 10 for s in range(seeds)],
            "retain_nll": 0.3,
            "damage": 0.1,
            "bystander_damage": 0.1,
            "rougeL_recall": 0.2,
            "utility_rise": 0.0,
        }
    )


@pytest.fixture
def run(tmp_path):
    return SimpleNamespace(figures=tmp_path)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.mark.parametrize("seeds", [1, 3])
def test_path_figures_draw_every_method_with_few_or_many_seeds(run, seeds):
    table, marks = path_table(seeds), oracles(seeds)
    drawn = paths.distance_and_cost(table, None if seeds == 1 else 0.3, 0.05)
    texts = {text.get_text() for text in drawn.axes[0].texts}
    assert {"first epoch", "all epochs"} <= texts
    assert ("oracles among themselves" in texts) == (seeds > 1)
    figures.save(paths.selectivity(table, marks), run, "selectivity")
    figures.save(paths.measures_along(table, marks), run, "measures")
    assert {p.name for p in run.figures.glob("*.svg")} == {"selectivity.svg", "measures.svg"}


def test_alpha_is_written_below_the_step(run):
    drawn = paths.measures_along(path_table(1), oracles(1))
    labels = [label.get_text() for label in drawn.axes[-1].get_xticklabels()]
    assert labels == ["0\n0", "1%\n10", "10%\n100", "20%\n200"]


def test_slider_figure_shows_the_step_it_is_asked_for():
    drawn = paths.at_step(path_table(1), oracles(1), 0.1)
    assert "10.0%" in drawn.axes[0].get_title(loc="left")


def test_labels_are_spread_but_not_reordered():
    assert figures.spread([0, 1, 50], 10) == [-4.5, 5.5, 50]
    assert figures.spread([], 10) == []


def test_table_is_saved_as_csv_and_markdown(run):
    shown = tables.show(pd.DataFrame({"a": ["x|y"], "b": [float("nan")]}), run, "t", "n = 1")
    folder = run.figures / "tables"
    assert shown.data == "| a | b |\n| --- | ---: |\n| x\\|y | – |\n\n*n = 1*"
    assert (folder / "t.md").read_text() == shown.data + "\n"
    assert pd.read_csv(folder / "t.csv")["a"].tolist() == ["x|y"]


def test_interval_needs_two_seeds():
    assert tables.mean_and_range(pd.Series([0.5])) == "0.50"
    assert tables.mean_and_range(pd.Series([1.0, 2.0, 3.0]), 1) == "2.0 [-0.5, 4.5]"
