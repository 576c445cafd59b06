"""Which epoch's gradients forget best: the gain at equal damage, epoch by epoch."""

import matplotlib.pyplot as plt
import pandas as pd

from unlearnkit.plots.style import COLOURS, MUTED, figure, label_ends

LINES = {"all": ("first_epoch", "all layers"), "embedding": ("oracle", "embedding")}


def by_epoch(table: pd.DataFrame) -> plt.Figure:
    """Change of D_F at equal damage by the epoch whose gradients are replayed, "all" apart on the right."""
    drawn, ax = figure(3.0)
    epochs = list(dict.fromkeys(table["epoch"]))
    places = {e: k + 0.5 * (e == "all") for k, e in enumerate(epochs)}
    ends, colours = {}, {}
    for layers, rows in table.groupby("layers", sort=False):
        colour, label = LINES[layers]
        x = rows["epoch"].map(places)
        ax.vlines(x, rows["ci_low"], rows["ci_high"], color=COLOURS[colour], lw=2.5, alpha=0.35)
        alone = rows["epoch"] != "all"
        ax.plot(x[alone], rows["change"][alone], color=COLOURS[colour], marker="o", ms=5)
        ax.plot(x[~alone], rows["change"][~alone], color=COLOURS[colour], marker="D", ms=7)
        ends[label], colours[label] = (x.iloc[-1], rows["change"].iloc[-1]), COLOURS[colour]
    ax.axhline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
    ax.set_xticks(list(places.values()), epochs)
    ax.set_xlim(-0.3, max(places.values()) + 0.2)
    ax.set(xlabel="epoch whose gradients are replayed", ylabel="change of $D_F$ (nats)")
    drawn.canvas.draw()
    label_ends(ax, ends, **colours)
    return drawn
