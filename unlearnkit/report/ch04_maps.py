"""Chapter 04's figures: maps of the model's parts, controls on them, and paths on a few of them."""

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap

from unlearnkit.report.ch04_alignment import cosines
from unlearnkit.report.ch04_layers import METHODS, common, controls, order, part_name, readings
from unlearnkit.report.contrasts import verdicts
from unlearnkit.report.figures import COLOURS, FAINT, INK, LABELS, MUTED, figure, note, step_axis
from unlearnkit.report.paths import STEP, damage_axis, straight
from unlearnkit.report.readings import along, path_table
from unlearnkit.report.run import Arm

DIVERGING = "PuOr_r"  # orange is more, purple is less, for every eye
RISING = LinearSegmentedColormap.from_list("rising", ["#ffffff", "#fdd0a2", "#b35806"])
LINES = {"all": INK, "embedding": "#D55E00", "last2": "#0072B2"}
NATS = (0.02, 0.1, 0.5, 2, 8)  # ticks of a wide axis
MARKS = {"wrong_person": "s", "random_direction": "X"}
PANELS = (  # reading, what must be so in every seed or the cell has a dagger, title, format, scale
    ("gain", "crossed", "closer to the\noracle (nats)", "+.2f", 1),
    ("share", "crossed", "step\n(%)", ".1f", 100),
    ("rise", "reached", "forget NLL\nrises (nats)", "+.2f", 1),
    ("damage", "reached", "retain NLL\nrises (nats)", "+.2f", 1),
)


def layer_map(arm: Arm, only: Sequence[str] = ()) -> plt.Figure:
    """Four readings side by side, a column a method, of those walked on every part that is shown.

    A dagger where not every seed's path got there.
    """
    table = common(arm)
    rows = order(table["layers"], only)
    methods = [m for m in METHODS if set(rows) <= set(table.loc[table["method"] == m, "layers"])]
    drawn, axes = figure(0.25 * len(rows) + 1.5, 1, 4, sharey=True)
    for ax, (value, complete, title, form, scale) in zip(axes, PANELS, strict=True):
        means, whole = (
            table.pivot_table(index="layers", columns="method", values=v, aggfunc=how)
            .reindex(index=rows, columns=methods)
            .astype(float)
            for v, how in ((value, "mean"), (complete, "min"))
        )
        texts = (scale * means).map(f"{{:{form}}}".format).replace(["+0.00", "-0.00"], "0.00")
        _cells(ax, means, texts + whole.map(lambda all_there: "" if all_there else "†"), value == "share")
        names = [LABELS[m].replace(" ", "\n") for m in methods] if len(methods) > 1 else [""]
        ax.set_xticklabels(names, fontsize=8)
        ax.set_title(f"\n\n{title}", fontsize=9, fontweight="normal", loc="center")
    for left, text in ((0, "at equal damage"), (2, "at equal step")):
        bold = {"fontweight": "bold", "fontsize": 10, "color": INK, "in_layout": False}
        note(axes[left], text, (1, 1), "axes fraction", (4, 36), ha="center", **bold)
    return drawn


def _cells(
    ax: plt.Axes, values: pd.DataFrame, texts: pd.DataFrame, rising: bool = False, top: float = 0.9
) -> None:
    """A heat map with its numbers; diverging about 0 where a sign means something.

    The largest number would wash all others out where a few parts go far, so a quantile sets the scale.
    """
    sizes = values.abs().to_numpy()
    reach = max(np.nanquantile(sizes, top), 1e-6)
    low, high, colours = (0, 1.1 * sizes.max(), RISING) if rising else (-reach, reach, DIVERGING)
    look = {"cmap": colours, "vmin": low, "vmax": high, "cbar": False, "annot_kws": {"size": 8}}
    sns.heatmap(values, annot=texts, fmt="", yticklabels=[part_name(n) for n in values.index], ax=ax, **look)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0, rotation=0)
    ax.tick_params(axis="y", labelcolor=INK, labelsize=8.5)


def cosine_map(arm: Arm, only: Sequence[str] = ()) -> plt.Figure:
    """Mean cosine over seeds of stored gradients with the way to the oracle: epochs across, layers down."""
    means = cosines(arm).pivot_table("with_oracle", "layers", "epoch")
    means = means.loc[[n for n in order(means.index, only) if n != "norms"]]
    drawn, ax = figure(0.24 * len(means) + 1.0)
    if len(means):
        _cells(ax, means, means.map("{:+.2f}".format), top=1.0)
    ax.set_xlabel("epoch of the stored gradients")
    return drawn


def few(arm: Arm) -> pd.DataFrame:
    """First-epoch paths on the parts of LINES, at the steps that all of a part's seeds walked.

    Columns of `path_table`, and part (in words).
    """
    table = path_table(arm, None, ("first_epoch",))
    paths = [along(table, "first_epoch", name).assign(part=part_name(name)) for name in LINES]
    paths = [
        path[path.groupby("share")["seed"].transform("size") == path["seed"].nunique()] for path in paths
    ]
    return pd.concat(paths, ignore_index=True)


COLOUR_OF = {part_name(name): colour for name, colour in LINES.items()}


def costs(arms: Sequence[Arm]) -> plt.Figure:
    """One panel an arm: distance to the oracle against retain damage, on a few parts; means over seeds."""
    drawn, axes = figure(3.2, 1, len(arms), squeeze=False)
    for ax, arm in zip(axes.flat, arms, strict=True):
        means = few(arm).groupby(["part", "share"])[["damage", "oracle_distance"]].mean()
        damage_axis(ax, arm.run.damage, means["damage"])
        for part, colour in COLOUR_OF.items():
            xs, ys = means.loc[part]["damage"], means.loc[part]["oracle_distance"]
            ax.plot(*straight(xs, ys), color=colour, label=part)
            ax.plot(xs, ys, "o", color=colour, ms=4)
        ax.set_ylim(0, 1.2 * ys.iloc[0])
        ax.set_title(fill(arm.name, 18), fontsize=9, fontweight="normal")
    axes[0, 0].set_ylabel("distance to the oracle, $D_F$ (nats)")
    handles = axes[0, 0].get_legend_handles_labels()
    drawn.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return drawn


def against_controls(arm: Arm, only: Sequence[str] = ()) -> plt.Figure:
    """A panel a control: how far the forget NLL rises on every part, after it and after the replay."""
    table = controls(arm)
    rows = order(table["layers"], only)[::-1]
    drawn, axes = figure(0.25 * len(rows) + 1.2, 1, len(MARKS), sharey=True)
    for ax, (control, mark) in zip(axes, MARKS.items(), strict=True):
        here = table[table["control"] == control]
        means = here.groupby("layers")[["rise", "rise_first"]].mean().reindex(rows)
        heights = range(len(rows))
        _wide_axis(ax.xaxis, means.to_numpy())
        ax.hlines(heights, means["rise"], means["rise_first"], color=MUTED, lw=1, alpha=0.6)
        ax.plot(means["rise"], heights, mark, color=COLOURS[control], ms=6, label=LABELS[control])
        ax.plot(means["rise_first"], heights, "o", color=COLOURS["first_epoch"], ms=6, label="first epoch")
        ax.axvline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        ax.set_xlabel(f"rise of the forget NLL (nats)\nat a step of {here['share'].max():.0%}")
        ax.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 1))
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(rows)), [part_name(n) for n in rows], color=INK, fontsize=8.5)
    return drawn


def _wide_axis(axis: Axis, values: np.ndarray) -> None:
    """Nats of either sign over several powers of ten: linear to the first tick, logarithmic beyond."""
    ticks = [t for t in NATS if t <= 1.5 * np.nanmax(values, initial=NATS[0])]
    below = [-t for t in NATS if t <= -1.5 * np.nanmin(values, initial=0)]
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("symlog", linthresh=NATS[0])
    axis.set_ticks([*below, 0, *ticks], [f"{t:g}" for t in [*below, 0, *ticks]])
    axis.set_ticks([], minor=True)


def last_blocks(arm: Arm) -> plt.Figure:
    """Rise of the forget NLL along the first-epoch step on a few parts; controls on the last blocks as marks.

    Shades span the seeds. The band is C2b's margin, below which an effect does not matter; the upright line
    is the reference step.
    """
    drawn, ax = figure(3.8)
    table = few(arm)
    sns.lineplot(table, x="share", y="rise", hue="part", palette=COLOUR_OF, errorbar=("pi", 100), ax=ax)
    for control, here in controls(arm).query("layers == 'last2'").groupby("control"):
        label = f"{LABELS[control]}, last two blocks"
        ax.plot(
            here["share"], here["rise"], MARKS[control], color=COLOURS[control], ms=5, alpha=0.6, label=label
        )
    step_axis(ax, table["share"])
    _wide_axis(ax.yaxis, table["rise"].to_numpy())
    margin = next(iter(verdicts(arm.run, ("C2b",))), {"margin": 0.0})["margin"]
    ax.axhspan(-margin, margin, color=FAINT, alpha=0.35, lw=0)
    note(ax, "too small to matter", (0.01, 0), "axes fraction", (0, 5))
    reference = readings(arm).query("layers == 'all' and method == 'first_epoch'")["share"].mean()
    ax.axvline(reference, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(ax, "read here", (reference, 1), ("data", "axes fraction"), (-3, -2), ha="right", va="top")
    ax.set(xlabel=STEP, ylabel="forget NLL, rise (nats)", ylim=(-0.05, None))
    handles = ax.get_legend_handles_labels()
    ax.get_legend().remove()
    drawn.legend(*handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return drawn
