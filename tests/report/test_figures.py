"""Figures and tables from small made-up numbers: they draw, are the same every time, and survive one seed."""

import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from unlearnkit.report import figures, paths, tables


def along(seeds: int) -> pd.DataFrame:
    """One method's path: seed s rises by 20 nats a step length of 1, and by s / 10 at every step."""
    rows = itertools.product(range(seeds), (0.0, 0.01, 0.1, 0.2))
    table = pd.DataFrame(rows, columns=["seed", "share"])
    return table.assign(rise=20 * table["share"] + table["seed"] / 10)


@pytest.fixture
def run(tmp_path):
    return SimpleNamespace(figures=tmp_path)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def test_a_method_has_a_thick_line_of_means_over_a_thin_one_a_seed():
    _, ax = plt.subplots()
    end = paths.method_line(ax, along(3), "share", "rise", "first_epoch")
    *thin, mean, points = ax.lines
    assert len(thin) == 3
    assert end == (0.2, pytest.approx(4.1))
    assert points.get_ydata() == pytest.approx([0.1, 0.3, 2.1, 4.1])
    assert mean.get_ydata()[[0, -1]] == pytest.approx([0.1, 4.1])


def test_a_step_of_one_seed_alone_is_on_its_own_line_and_not_in_the_mean():
    """Steps towards a reading are a seed's own; a seed that ends early leaves the mean to the others."""
    table = along(3)
    own = table[table["share"] == 0.1].head(1).assign(share=0.15, rise=9.0)
    short = table[(table["seed"] < 2) | (table["share"] < 0.2)]
    table = pd.concat([short, own]).sort_values(["seed", "share"])
    _, ax = plt.subplots()
    paths.method_line(ax, table, "share", "rise", "first_epoch")
    thin, *_, points = ax.lines
    assert 9.0 in thin.get_ydata()
    assert 9.0 not in points.get_ydata()
    assert list(points.get_xdata()) == [0.0, 0.01, 0.1, 0.2]
    assert points.get_ydata()[-1] == pytest.approx(4.05)  # of the two that go so far


def test_between_shared_steps_the_mean_is_that_of_the_seeds_own_lines():
    """A straight line from one shared step to the next may lie above them all."""
    one = pd.DataFrame({"seed": 0, "share": [0.0, 0.1, 0.2], "rise": [0.0, 0.2, 4.0]})
    other = pd.DataFrame({"seed": 1, "share": [0.0, 0.15, 0.2], "rise": [0.0, 0.6, 4.0]})
    _, ax = plt.subplots()
    paths.method_line(ax, pd.concat([one, other]), "share", "rise", "first_epoch")
    mean = ax.lines[-2]
    assert np.interp(0.1, *mean.get_data()) == pytest.approx(0.3)


def test_one_seed_needs_no_thin_line_and_steps_without_a_reading_are_passed_over():
    _, ax = plt.subplots()
    table = along(1).assign(rise=[0.0, np.nan, 2.0, 4.0])
    paths.method_line(ax, table, "share", "rise", "first_epoch")
    assert len(ax.lines) == 2
    assert list(ax.lines[-1].get_xdata()) == [0.0, 0.1, 0.2]


def test_lines_bend_with_a_logarithmic_axis_as_readings_interpolate():
    xs, ys = paths.straight([0.0, 1.0, 5.0], [0.0, 2.0, 0.0])
    assert len(xs) == 61
    assert np.interp(3.0, xs, ys) == pytest.approx(1.0)


def test_damage_has_its_reading_point_and_no_tick_beyond_what_is_seen():
    _, ax = plt.subplots()
    paths.damage_axis(ax, 0.05, pd.Series([0.0, 1.5]))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "0.05", "0.2", "1"]


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


def test_panels_wrap_into_even_lines():
    drawn, axes = figures.panels(2.0, 7)
    assert len(axes) == 7
    assert len(drawn.axes) == 8
    assert drawn.get_size_inches()[1] == 4.0
    assert len(figures.panels(2.0, 1)[1]) == 1
    assert figures.panels(2.0, 6, 4)[1][3].get_subplotspec().rowspan.start == 1


def test_a_thin_line_leads_to_a_name_that_is_not_beside_its_line():
    drawn, ax = figures.figure(3.0)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ends = {"alone": (1, 0.9), "near": (1, 0.2), "by": (1, 0.21)}
    figures.label_ends(ax, ends, **dict.fromkeys(ends, figures.INK))
    led = {text.get_text(): text.arrow_patch is not None for text in ax.texts}
    assert led == {"alone": False, "near": True, "by": True}
    plt.close(drawn)


def test_names_of_points_cover_neither_each_other_nor_the_points():
    drawn, ax = figures.figure(4.0)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    rng = np.random.default_rng(0)
    points = {f"method {k}": tuple(xy) for k, xy in enumerate(rng.uniform(0.3, 0.7, (12, 2)))}
    figures.label_points(ax, points, dict.fromkeys(points, figures.INK), others=[(0.5, 0.5)])
    drawn.canvas.draw()
    boxes = {text.get_text(): Text.get_window_extent(text) for text in ax.texts}
    assert set(boxes) == set(points)
    marks = [ax.transData.transform(point) for point in [*points.values(), (0.5, 0.5)]]
    for a, b in itertools.combinations(boxes.values(), 2):
        assert not a.overlaps(b)
    for box in boxes.values():
        assert not any(box.contains(*mark) for mark in marks)
        assert ax.get_window_extent().contains(box.x0, box.y0)
