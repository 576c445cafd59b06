"""Requests compared: matchers by threshold, paths to the oracle, and what happens to the neighbours."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.plots.paths import ZOOM, damage_axis, distance_axes, straight
from unlearnkit.plots.style import COLOURS, INK, LABELS, MUTED, figure, note, step_axis
from unlearnkit.study.plan import FUZZY_THRESHOLD
from unlearnkit.study.results.paths import along
from unlearnkit.study.results.requests_compared import COMPARED, GROUPS

# Beside the methods' colours; Tol's muted scheme, safe for colour-blind readers.
MATCHERS = {"partial_ratio": "#CC6677", "token_set_ratio": "#44AA99", "MiniLM": "#332288"}


def matchers(swept: pd.DataFrame) -> plt.Figure:
    """F1 against the threshold (band: targets), and precision against recall; `swept` is of `sweep`."""
    drawn, (left, right) = figure(3.8, 1, 2, width_ratios=[1.15, 1])
    for matcher, rows in swept.groupby("matcher", sort=False):
        colour, by = MATCHERS[matcher], rows.groupby("threshold")
        f1 = by["f1"]
        left.fill_between(list(f1.groups), f1.min(), f1.max(), color=colour, alpha=0.15, lw=0)
        left.plot(list(f1.groups), f1.mean(), color=colour, label=matcher)
        means = by[["precision", "recall", "f1"]].mean().dropna()
        right.plot(means["recall"], means["precision"], color=colour, marker="o", ms=2.5, lw=1.4)
        best = means["f1"].idxmax()
        right.plot(*means.loc[best, ["recall", "precision"]], "o", color=colour, ms=9, mec="white")
    left.axvline(FUZZY_THRESHOLD, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(left, "the study's", (FUZZY_THRESHOLD, 0.02), "data", (-3, 0), ha="right")
    left.set(xlim=(0, 100), ylim=(0, 1.08), xlabel="threshold", ylabel="F1 of the matched set")
    right.set(xlim=(0, 1.04), ylim=(0, 1.08), xlabel="recall", ylabel="precision")
    note(right, "large: best F1", (0.03, 0.03), "axes fraction", (0, 0))
    drawn.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return drawn


def to_the_oracle(table: pd.DataFrame, floor: float | None, damage: float) -> plt.Figure:
    """Distance to the oracle along the step and against retain damage, means over seeds.

    Paths that coincide are drawn on each other, the wider ones below.
    """
    drawn, (left, right) = figure(4.0, 1, 2, sharey=True)
    shown = [m for m in COMPARED if m in set(table["method"])]
    widths = dict(zip(COMPARED, (1.6, 2, 4, 7, 2, 2), strict=True))
    for method in reversed(shown):
        means = along(table, method).groupby("share")[["damage", "oracle_distance"]].mean().reset_index()
        for ax, x in ((left, "share"), (right, "damage")):
            told = {"color": COLOURS[method], "lw": widths[method]}
            ax.plot(*straight(means[x], means["oracle_distance"]), **told)
            ax.plot(means[x], means["oracle_distance"], "o", color=COLOURS[method], ms=widths[method] + 2)
    steps = sorted(set(table.loc[table["method"] == "first_epoch", "share"]))
    step_axis(left, steps[::2])
    damage_axis(right, damage, table["damage"])
    distance_axes(left, right, floor)
    left.set_ylim(0, ZOOM * table.loc[table["method"] == "finetuned", "oracle_distance"].mean() / 2)
    lines = [plt.Line2D([], [], color=COLOURS[m], lw=max(2, widths[m] / 1.5)) for m in shown]
    names = [LABELS[m] for m in shown]
    drawn.legend(lines, names, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return drawn


def neighbours(risen: pd.DataFrame) -> plt.Figure:
    """Rise of the near-neighbours' NLL at equal retain damage: a thin mark a seed, a dot for the mean."""
    groups = [g for g in GROUPS[:2] if g in set(risen["group"])]
    shown = [m for m in (*COMPARED, "all_epochs", "oracle") if m in set(risen["method"])]
    drawn, ax = figure(0.28 * len(groups) * len(shown) + 1.3)
    places = dict(zip(shown, np.linspace(0.3, -0.3, len(shown)), strict=True))
    for height, group in enumerate(reversed(groups)):
        for method, place in places.items():
            values = risen.loc[(risen["group"] == group) & (risen["method"] == method), "rise"]
            if values.empty:
                continue
            colour, y = COLOURS[method], height + place
            ax.plot(values, [y] * len(values), "|", color=colour, ms=9, alpha=0.6)
            ax.plot(values.mean(), y, "o", color=colour, ms=7, mec="white", zorder=3)
            where = (values.max(), y), "data"
            note(ax, LABELS[method], *where, (8, 0), va="center", color=colour)
    ax.axvline(0, color=INK, lw=1)
    names = [g.replace("in the", "in the\n").replace("outside of", "outside\nof") for g in reversed(groups)]
    ax.set_yticks(range(len(groups)), names, color=INK)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.2)
    ax.set(ylim=(-0.5, len(groups) - 0.5), xlabel="rise of the NLL at equal retain damage (nats)")
    return drawn
