"""Chapter 04: the map, every part of the model by itself."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unlearnkit.report import figures
from unlearnkit.report.ch04_layers import common, order, part_name, readings
from unlearnkit.report.figures import INK
from unlearnkit.report.run import Arm, Run

DIVERGING = "PuOr_r"  # orange is more, purple is less, for every eye
BETTER, WORSE = "#E08214", "#8073AC"  # its two hues: what an update is for, and what others pay for it
MANY = 25  # rows of a map from which they are narrower
DEEP = 0.7  # of full colour, from which its number is white
PAID = ("price", "damage")  # readings of which more is worse
PANELS = {  # reading: title, how it is written, what must be so in every seed or the cell has a dagger
    "price": ("matched\nforgetting:\nothers lose", "{:.2f}", "forgets"),
    "gain": ("equal damage:\ncloser to\nthe oracle", "{:+.2f}", "crossed"),
    "rise": ("equal step:\nforget NLL\nrises", "{:+.2f}", "reached"),
    "damage": ("equal step:\nretain NLL\nrises", "{:+.2f}", "reached"),
}


def widest(run: Run) -> Arm:
    """The arm that most seeds mapped block by block, the first of equals; without a map, most parts."""
    mapped = [arm for arm in run.arms if is_mapped(arm)]
    if mapped:
        return max(mapped, key=lambda arm: common(arm)["seed"].nunique())
    return max(run.arms, key=lambda arm: readings(arm)["layers"].nunique())


def is_mapped(arm: Arm) -> bool:
    """Whether single blocks were walked."""
    return bool(readings(arm)["layers"].str.startswith("block.").any())


def layer_map(arm: Arm, layers: Sequence[str] = ()) -> Figure:
    """First-epoch replay on every part by itself, a row a part and a column a reading; means over seeds.

    Orange is what the update is for and purple what others pay, the deeper the more, a scale for each column.
    """
    walked = common(arm)  # rows are compared on one set of seeds
    first = walked[walked["method"] == "first_epoch"]
    rows = order(first["layers"], layers)
    height = 0.25 if len(rows) < MANY else 0.19  # inches, of a row
    drawn, axes = figures.figure(height * len(rows) + 1.5, 1, len(PANELS), sharey=True)
    for ax, (value, (title, style, complete)) in zip(axes, PANELS.items(), strict=True):
        means = first.groupby("layers")[[value]].mean().reindex(rows)
        texts = means.map(style.format).replace(["+0.00", "-0.00"], "0.00")
        there = first.groupby("layers")[[complete]].min().set_axis([value], axis=1).reindex(rows)
        texts, paler = texts.where(there.astype(bool), texts + "†"), None
        if value == "price":  # a part on which no seed forgets has a charge and no price
            never = ~first.groupby("layers")[complete].max().reindex(rows).astype(bool)
            means = means.mask(never)
            paler = 2 * np.nanmax(means[value], initial=0.01)
        if value == "damage":  # what others gain is no price either
            means = means.clip(lower=0)
        colours = DIVERGING.removesuffix("_r") if value in PAID else DIVERGING
        heat(ax, means, texts, paler, colours)
        for row in np.flatnonzero(means[value].isna()):
            middle = {"ha": "center", "va": "center", "fontsize": 8}
            figures.note(ax, "never", (0.5, row + 0.5), "data", (0, 0), **middle)
        ax.set_xticks([])
        ax.set_title(f"{title} (nats)", fontsize=9, fontweight="normal", loc="center")
    keys = [Patch(color=BETTER, label="forgets, or comes closer"), Patch(color=WORSE, label="others pay")]
    drawn.legend(handles=keys, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return drawn


def fragile(arm: Arm) -> pd.Series:
    """The block that costs the retain facts most at equal step: part, damage, rise (of the forget NLL),
    and the median block's damage; all in nats, means over the map's seeds.
    """
    walked = common(arm)
    blocks = walked[walked["layers"].str.startswith("block.") & (walked["method"] == "first_epoch")]
    means = blocks.groupby("layers")[["damage", "rise"]].mean()
    worst = means["damage"].idxmax()
    told = {"part": part_name(worst), "median": means["damage"].median()}
    return pd.Series(told | means.loc[worst].to_dict())


def heat(
    ax: plt.Axes,
    values: pd.DataFrame,
    texts: pd.DataFrame,
    reach: float | None = None,
    colours: str = DIVERGING,
) -> None:
    """A heat map of parts (the index, as layer names) with its texts; white is 0.

    `reach`, the number of full colour, is a quantile where it is not told: where a few parts go far, the
    largest number would wash all others out.
    """
    reach = reach or max(np.nanquantile(values.abs(), 0.9), 1e-6)
    look = {"cmap": colours, "vmin": -reach, "vmax": reach, "cbar": False, "annot_kws": {"size": 8}}
    sns.heatmap(values, annot=texts, fmt="", yticklabels=[part_name(n) for n in values.index], ax=ax, **look)
    for told in ax.texts:
        column, row = map(int, told.get_position())
        told.set_color(INK if abs(values.iloc[row, column]) < DEEP * reach else "white")
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0, rotation=0)
    ax.tick_params(axis="y", labelcolor=INK, labelsize=8.5)
