"""Where stored gradients point: cosines by epoch, and by epoch and layer."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from unlearnkit.plots.layermap import DIVERGING, cells
from unlearnkit.plots.style import COLOURS, INK, MUTED, figure, label_ends
from unlearnkit.study.results.layermap import layer_name

AGAINST = {"with_oracle": ("oracle", "way to the oracle"), "with_now": ("finetuned", "today's gradient")}


def by_epoch(tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> plt.Figure:
    """One panel an arm: cosine of each epoch's gradient with the oracle's way and with today's gradient.

    An arm has (cosines, vectors) on all layers: thick lines are means, thin ones seeds, and the mark beside
    epoch 1 is the wrong person's gradient of that epoch against the oracle's way.
    """
    rows = -(-len(tables) // 2)
    drawn, axes = figure(2.6 * rows + 0.5, rows, min(len(tables), 2), squeeze=False, sharey=True)
    for ax in axes.flat[len(tables) :]:
        ax.set_visible(False)
    for ax, (arm, (table, others)) in zip(axes.flat, tables.items(), strict=False):
        ends, colours = {}, {}
        for column, (colour, label) in AGAINST.items():
            for _, one in table.groupby("seed"):
                ax.plot(one["epoch"], one[column], color=COLOURS[colour], lw=0.7, alpha=0.35)
            mean = table.groupby("epoch")[column].mean()
            ax.plot(mean.index, mean, color=COLOURS[colour], marker="o", ms=4)
            ends[label], colours[label] = (mean.index[-1], mean.iloc[-1]), COLOURS[colour]
        wrong = others[others["vector"] == "wrong_person"]["with_oracle"]
        mark = {"color": COLOURS["wrong_person"], "zorder": 4}
        ax.plot([1, 1], [wrong.min(), wrong.max()], lw=3, alpha=0.4, solid_capstyle="butt", **mark)
        ax.plot(1, wrong.mean(), "s", ms=6, **mark)
        ax.annotate(
            "wrong person", (1, wrong.mean()), (8, -12), textcoords="offset points", fontsize=8.5, **mark
        )
        ax.axhline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        ax.set_title(arm, fontsize=9.5)
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        drawn.canvas.draw()
        label_ends(ax, ends, **colours)
    for ax in axes[:, 0]:
        ax.set_ylabel("cosine")
    axes[0, 0].set_ylim(bottom=min(axes[0, 0].get_ylim()[0], -0.15))  # room for the control's name
    return drawn


def by_layer(table: pd.DataFrame, rows: list[str], column: str = "with_oracle") -> plt.Figure:
    """Heat map of the mean cosine over seeds: epochs across, layers down."""
    means = table.pivot_table(index="layers", columns="epoch", values=column).reindex(rows)
    drawn, ax = figure(0.24 * len(rows) + 1.0)
    reach = max(means.abs().max().max(), 1e-6)
    norm = TwoSlopeNorm(0, -reach, reach)
    cells(ax, means, means.map("{:+.2f}".format), plt.get_cmap(DIVERGING), norm)
    ax.set_xticks(range(means.shape[1]), means.columns)
    ax.set_yticks(range(len(rows)), [layer_name(n) for n in rows], color=INK, fontsize=8.5)
    ax.set_xlabel("epoch of the stored gradients")
    return drawn
