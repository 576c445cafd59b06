"""Influence and extraction after every application of stored and of fresh gradients."""

import matplotlib.pyplot as plt
import pandas as pd

from unlearnkit.plots.paths import STEP_NARROW, method_line
from unlearnkit.plots.style import COLOURS, INK, LABELS, MUTED, figure, note, step_axis
from unlearnkit.study.results.duration import METHODS, SCORES

TITLES = (
    *("Influence:\nactivation × its gradient", "Influence:\nstored × present gradient"),
    "Extraction\nlikelihood",
)


def followed(table: pd.DataFrame, strangers: pd.DataFrame) -> plt.Figure:
    """Two influence scores and extraction likelihood by distance; dashed: the control person's influence.

    `table` as `duration.followed` gives it, `strangers` as `duration.strangers`.
    """
    drawn, axes = figure(3.7, 1, 3)
    columns = (*SCORES, "extraction_likelihood")
    for ax, column, title in zip(axes, columns, TITLES, strict=True):
        for method in METHODS:
            path = table[table["method"] == method]
            method_line(ax, path, "share", column, method)
            if (control := f"{column}_control") in path:
                means = path.groupby("share")[control].mean()
                ax.plot(means.index, means, color=COLOURS[method], lw=1.4, ls=(0, (4, 2)))
        step_axis(ax, sorted(set(table["share"]))[1::2])
        ax.set_xlim(right=1.1 * table["share"].max())
        ax.set_title(title, fontsize=9, fontweight="normal")
        ax.axhline(0, color=MUTED, lw=0.8)
    axes[-1].set_ylim(-0.02, 1.02)
    if len(strangers):
        level = strangers["extraction_likelihood"].mean()
        axes[-1].axhline(level, color=INK, lw=1.2, ls=":")
        where = (0, level), ("axes fraction", "data"), (4, -3)
        note(axes[-1], "strangers", *where, va="top", color=INK)
    axes[1].set_xlabel(STEP_NARROW)
    lines = [plt.Line2D([], [], color=COLOURS[m], marker="o", ms=4) for m in METHODS]
    lines.append(plt.Line2D([], [], color=MUTED, lw=1.4, ls=(0, (4, 2))))
    names = [*(LABELS[m] for m in METHODS), "the same, on another person's facts"]
    drawn.legend(lines, names, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
    return drawn
