"""Facts against seeds as replicates, equivalence with the oracle, and distances of distributions."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from unlearnkit.plots.style import COLOURS, FAINT, INK, MUTED, figure, note

FACTS, SEEDS = "#E69F00", "#0072B2"  # one unit of replication each
UPDATE_COLOURS = {
    "first epoch": COLOURS["first_epoch"],
    "all epochs": COLOURS["all_epochs"],
    "first epoch, embedding only": "#A5682A",
    "wrong person": COLOURS["wrong_person"],
    "random direction": COLOURS["random_direction"],
}
SMALLEST_P = 1e-12  # p below it is drawn at the edge
TITLES = {"distance": "$D_F$, less the margin", "gap": "forget NLL, less the oracles'"}


def model_by_model(table: pd.DataFrame, over_seeds: pd.DataFrame) -> plt.Figure:
    """Each contrast in every trained model with its interval over facts, then over the models.

    `table` as `results.testing.by_seed` gives it; `over_seeds` has mean, ci_low, ci_high by contrast.
    """
    contrasts = list(dict.fromkeys(table["contrast"]))[:3]
    seeds = sorted(set(table["seed"]))
    drawn, axes = figure(1.3 + 0.19 * len(seeds), 1, len(contrasts), sharey=True, squeeze=False)
    for ax, contrast in zip(axes.flat, contrasts, strict=True):
        mine = table[table["contrast"] == contrast]
        for row in mine.itertuples():
            _interval(ax, row, seeds.index(row.seed), FACTS, 1.4, 3.5)
        _over_models(ax, over_seeds.loc[contrast], len(seeds) + 0.4)
        ax.axvline(0, color=MUTED, lw=0.9, zorder=0)
        ax.set_title(contrast.replace(" − ", "\n− "), fontweight="normal", fontsize=9.5)
    targets = table.drop_duplicates("seed").set_index("seed")["target"]
    labels = [f"seed {s}, {targets[s]}" for s in seeds]
    axes[0, 0].set_yticks([*range(len(seeds)), len(seeds) + 0.4], [*labels, "over seeds"])
    axes[0, 0].set_ylim(len(seeds) + 1, -0.8)
    axes[0, 0].tick_params(axis="y", labelsize=8)
    drawn.supxlabel("difference of $D_F$ (nats); right of zero favours the second", fontsize=9.5)
    return drawn


def _interval(ax: plt.Axes, row, place: float, colour: str, width: float, size: float) -> None:
    if np.isfinite(row.ci_low):
        ax.plot([row.ci_low, row.ci_high], [place, place], color=colour, lw=width)
    ax.plot(row.mean, place, "o", color=colour, ms=size)


def _over_models(ax: plt.Axes, row: pd.Series, place: float) -> None:
    """The mean over models and its interval, as a bar and as a band behind the others."""
    if np.isfinite(row["ci_low"]):
        ends = [row["ci_low"], row["ci_high"]]
        ax.axvspan(*ends, color=SEEDS, alpha=0.15, lw=0, zorder=0)
        ax.plot(ends, [place, place], color=SEEDS, lw=3)
    ax.plot(row["mean"], place, "s", color=SEEDS, ms=6)


def units(table: pd.DataFrame) -> plt.Figure:
    """p (left) and |d_z| (right) of every test, over the facts of one model and over training seeds."""
    names = list(dict.fromkeys(table["what"]))
    drawn, (left, right) = figure(1.2 + 0.36 * len(names), 1, 2, sharey=True, width_ratios=[1.4, 1])
    table = table.assign(p=table["p"].clip(lower=SMALLEST_P), size=table["d_z"].abs())
    for ax, column in ((left, "p"), (right, "size")):
        for place, name in enumerate(names):
            mine = table[table["what"] == name]
            ax.plot(mine[column], [place] * len(mine), color=FAINT, lw=1.5, zorder=0)
            for row, colour, symbol in zip(mine[column], (FACTS, SEEDS), "os", strict=False):
                ax.plot(row, place, symbol, color=colour, ms=7)
        ax.set_xscale("log")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.xaxis.set_minor_locator(NullLocator())
    left.axvline(0.05, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(left, "0.05", (0.05, 1), ("data", "axes fraction"), (3, -2), va="top", fontsize=8.5)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.9)
    left.tick_params(axis="y", labelsize=9, length=0)
    left.set_xlabel("p, uncorrected")
    right.set_xlabel("$|d_z|$")
    for text, colour, y in (("● facts of seed 0", FACTS, 4), ("■ training seeds", SEEDS, 16)):
        note(right, text, (1, 1), "axes fraction", (0, y), ha="right", color=colour)
    return drawn


def equivalence(table: pd.DataFrame, margin: float) -> plt.Figure:
    """90 % intervals of every update's distance and gap, and the margin that they must lie within."""
    names = list(dict.fromkeys(table["update"]))
    drawn, axes = figure(1.2 + 0.3 * len(names), 1, 2, sharey=True)
    for ax, (measure, title) in zip(axes, TITLES.items(), strict=True):
        ax.axvspan(-margin, margin, color=COLOURS["oracle"], alpha=0.25, lw=0)
        ax.axvline(0, color=MUTED, lw=0.9)
        for row in table[table["measure"] == measure].itertuples():
            colour = UPDATE_COLOURS.get(row.update, COLOURS["oracle"])
            _interval(ax, row, names.index(row.update), colour, 2.4, 6)
        ax.set_title(title, fontweight="normal", fontsize=9.5)
    axes[0].set_yticks(range(len(names)), names, color=INK)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    axes[0].tick_params(axis="y", labelsize=9, length=0)
    drawn.supxlabel("nats, with 90 % intervals over seeds; green band: the margin", fontsize=9.5)
    return drawn


def ks(table: pd.DataFrame) -> plt.Figure:
    """KS distance of every update in every seed, and what two oracles have between them."""
    names = list(dict.fromkeys(table["update"]))
    drawn, ax = figure(1.1 + 0.3 * len(names))
    for place, name in enumerate(names):
        mine = table[table["update"] == name].sort_values("seed")
        colour = UPDATE_COLOURS.get(name, COLOURS["oracle"])
        heights = place + np.linspace(-0.22, 0.22, len(mine)) if len(mine) > 1 else [place]
        for row, height in zip(mine.itertuples(), heights, strict=True):
            if np.isfinite(row.ci_low):
                ax.plot([row.ci_low, row.ci_high], [height, height], color=colour, lw=0.8, alpha=0.5)
            ax.plot(row.d, height, "o", color=colour, ms=3, alpha=0.8)
        ax.plot(mine["d"].mean(), place, "|", color=INK, ms=17, mew=2.2)
    ax.set_yticks(range(len(names)), names, color=INK)
    ax.tick_params(axis="y", labelsize=9, length=0)
    ax.set(xlim=(0, 1.02), ylim=(len(names) - 0.4, -0.6))
    ax.set_xlabel("KS distance D between NLLs of the forget facts: update and oracle")
    return drawn
