"""Settings ranked by how far they are ahead of the controls."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.plots.style import COLOURS, INK, MUTED, figure, note

OTHER = "#4D4D4D"  # a method without a colour of its own


def ranking(table: pd.DataFrame, names: list[str]) -> plt.Figure:
    """Left: D_F at equal damage, from the fine-tuned model's. Right: how far ahead of the best control.

    `table` as `results.practice.ranked` gives it, with a row a setting and its name in `names`.
    """
    drawn, (left, right) = figure(1.3 + 0.22 * len(table), 1, 2, sharey=True, width_ratios=[1, 1.1])
    for place, row in enumerate(table.itertuples()):
        colour = COLOURS.get(row.method, OTHER)
        symbol = "s" if row.control else "o"
        left.plot([row.start, row.distance], [place, place], color=colour, lw=1.2, alpha=0.5)
        left.plot(row.start, place, "|", color=INK, ms=8)
        left.plot(row.distance, place, symbol, color=colour, ms=5.5)
        if np.isfinite(row.ci_low):
            right.plot([row.ci_low, row.ci_high], [place, place], color=colour, lw=1.6)
        right.plot(row.ahead, place, symbol, color=colour, ms=5.5)
    right.axvline(0, color=MUTED, lw=1)
    _limit(right, table)
    left.set_yticks(range(len(names)), names, color=INK)
    left.tick_params(axis="y", length=0, labelsize=8.5)
    left.set_ylim(len(table) - 0.4, -0.6)
    left.set_xlim(left=0)
    left.set_xlabel("distance to the oracle $D_F$ (nats)\n| before, ● setting, ■ control", fontsize=9)
    right.set_xlabel("closer than the best control by (nats)\n95 % interval over seeds", fontsize=9)
    note(right, "farther", (0, 1), ("data", "axes fraction"), (-5, 3), ha="right", fontsize=8.5)
    note(right, "closer", (0, 1), ("data", "axes fraction"), (5, 3), fontsize=8.5)
    return drawn


def _limit(ax: plt.Axes, table: pd.DataFrame) -> None:
    """Cut the axis where intervals of few seeds would hide the estimates."""
    size = table["ahead"].abs().max() or 1.0
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, -3 * size), min(high, 3 * size))
