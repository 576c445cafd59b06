"""Unlearning paths: what happens along the step length, and what it costs the retain facts."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.report import readings
from unlearnkit.report.figures import (
    COLOURS,
    FAINT,
    INK,
    LABELS,
    MUTED,
    figure,
    label_ends,
    note,
    step_axis,
)

STEP = "step length, share of the fine-tuning displacement"
STEP_NARROW = STEP.replace(", ", ",\n")
ZOOM = 2.2  # an axis shows at most this many times the way from the fine-tuned model to the oracle
DAMAGE_TICKS = (0.2, 1, 5, 20)
PANELS = {
    "forget_nll": "Forget facts: NLL (nats)",
    "retain_nll": "Retain facts: NLL (nats)",
    "perplexity": "Encyclopedia perplexity, × start",
    "rougeL_recall": "Forget facts: ROUGE-L recall",
}


def method_line(ax: plt.Axes, path: pd.DataFrame, x: str, y: str, method: str) -> tuple[float, float]:
    """One method: a thin line a seed, a thick one for their mean; returns where that ends.

    Steps at which y was not measured are passed over.
    """
    path = path[path[y].notna()] if path[y].notna().any() else path
    colour = COLOURS[method]
    # On a logarithmic axis `straight` would draw a jump by orders of magnitude as a wall at its first step.
    joined = straight if ax.get_yscale() == "linear" else lambda xs, ys: (xs, ys)
    if len(set(path["seed"])) > 1:
        for _, one in path.groupby("seed"):
            ax.plot(*joined(one[x], one[y]), color=colour, lw=0.8, alpha=0.45)
    steps = path.groupby("share")
    xs = list(steps.groups) if x == "share" else list(steps[x].mean())
    ys = list(steps[y].mean())
    ax.plot(*joined(xs, ys), color=colour)
    ax.plot(xs, ys, "o", color=colour, ms=4)
    return xs[-1], ys[-1]


def straight(xs: Sequence[float], ys: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The points with 30 more on every straight piece between them, so that a logarithmic axis bends it.

    Readings interpolate linearly; a line drawn straight on such an axis would contradict them.
    """
    places = np.linspace(0, len(xs) - 1, 30 * (len(xs) - 1) + 1)
    return tuple(np.interp(places, range(len(xs)), values) for values in (list(xs), list(ys)))


def _band(ax: plt.Axes, values: pd.Series) -> None:
    """The oracles as a band from the lowest to the highest seed, and a line for their mean."""
    ax.axhspan(values.min(), values.max(), color=COLOURS["oracle"], alpha=0.22, lw=0)
    ax.axhline(values.mean(), color=COLOURS["oracle"], lw=1.4)
    where = (1, values.mean()), ("axes fraction", "data"), (-2, 3)
    note(ax, "oracle", *where, ha="right", va="bottom", color=COLOURS["oracle"])


def _alpha_ticks(ax: plt.Axes, path: pd.DataFrame) -> None:
    """Below each step, the same step as a multiple of the learning rate."""
    alphas = path.groupby("share")["alpha_lr"].mean().reindex(ax.get_xticks())
    labels = [label.get_text() for label in ax.get_xticklabels()]
    both = [f"{t}\n{_short(a)}" for t, a in zip(labels, alphas, strict=True)]
    ax.set_xticks(ax.get_xticks(), both)


def _short(value: float) -> str:
    """Two digits, thousands as k."""
    return f"{value / 1000:.2g}k" if value >= 1000 else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def measures_along(table: pd.DataFrame, oracles: pd.DataFrame, method: str = "first_epoch") -> plt.Figure:
    """Forget and retain NLL, utility and ROUGE along one method's path, the oracles beside each."""
    drawn, axes = figure(5.6, 2, 2, sharex=True)
    path, oracles = (t.assign(perplexity=np.exp(t["utility_rise"])) for t in (table, oracles))
    path = readings.along(path, method)
    for ax, (column, title) in zip(axes.flat, PANELS.items(), strict=True):
        if column == "perplexity" and path[column].max() > 5:
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        method_line(ax, path, "share", column, method)
        step_axis(ax, path["share"])
        _band(ax, oracles[column])
        ax.set_title(title)
    _alpha_ticks(axes[-1, 0], path)  # the axes share their ticks
    drawn.supxlabel(f"{STEP};\nbelow it, α as a multiple of the learning rate", fontsize=10, color=INK)
    return drawn


def distance_and_cost(table: pd.DataFrame, floor: float | None, damage: float) -> plt.Figure:
    """Distance to the oracle of every method: along the step length, and against retain damage."""
    drawn, (left, right) = figure(3.6, 1, 2, sharey=True, width_ratios=[1.1, 1])
    start = table.loc[table["method"] == "finetuned", "oracle_distance"].mean()
    top = min(table["oracle_distance"].max() * 1.05, ZOOM * start)
    ends = {}
    for method in readings.methods(table):
        path = readings.along(table, method)
        x, y = method_line(left, path, "share", "oracle_distance", method)
        ends[method] = (x, min(y, top))
        method_line(right, path, "damage", "oracle_distance", method)
    left.set_ylim(0, top)
    step_axis(left, table["share"])
    damage_axis(right, damage, table["damage"])
    distance_axes(left, right, floor)
    drawn.canvas.draw()
    label_ends(left, ends)
    return drawn


def distance_axes(left: plt.Axes, right: plt.Axes, floor: float | None) -> None:
    """Label two panels of D_F, the left one along the step; the band is one oracle against the others."""
    if floor is not None:
        for ax in (left, right):
            ax.axhspan(0, floor, color=COLOURS["oracle"], alpha=0.25, lw=0)
        where = (0.02, floor), ("axes fraction", "data"), (0, 2)
        note(left, "oracles among themselves", *where, color=COLOURS["oracle"])
    left.set(xlabel=STEP_NARROW, ylabel="distance to the oracle, $D_F$ (nats)")


def damage_axis(ax: plt.Axes, damage: float, seen: pd.Series) -> None:
    """Retain damage, linear up to the reading point and logarithmic beyond it."""
    ticks = [damage, *(tick for tick in DAMAGE_TICKS if damage < tick <= max(seen.max(), 2 * damage))]
    ax.set_xscale("symlog", linthresh=damage, linscale=0.6)
    ax.set_xticks([0, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
    ax.set_xticks([], minor=True)
    ax.set_xlim(left=min(0, seen.min()) - damage / 4)
    ax.axvline(damage, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(ax, "read here", (damage, 1), ("data", "axes fraction"), (3, -2), va="top")
    ax.set_xlabel("retain damage (nats)\n")


def selectivity(table: pd.DataFrame, oracles: pd.DataFrame) -> plt.Figure:
    """Left: how far each path falls short of the oracle or passes it. Right: what it costs the others."""
    drawn, (left, right) = figure(3.7, 1, 2, width_ratios=[1.1, 1])
    start = table[table["method"] == "finetuned"].set_index("seed")["forget_nll"]
    reach = max(oracles["forget_nll"].mean() - start.mean(), 0.5)
    ends = {}
    for method in readings.methods(table):
        path = readings.along(table, method)
        ends[method] = method_line(left, path, "share", "oracle_gap", method)
        method_line(right, path, "bystander_damage", "rise", method)
    top = min(left.get_ylim()[1], ZOOM * reach)
    left.set_ylim(top=top)
    step_axis(left, table["share"])
    left.axhline(0, color=COLOURS["oracle"], lw=1.6)
    for text, shift, side in (("past the oracle", 3, "bottom"), ("still known", -4, "top")):
        note(left, text, (0.02, 0), ("axes fraction", "data"), (0, shift), va=side, style="italic")
    left.set(xlabel=STEP_NARROW, ylabel="forget NLL minus the oracle's (nats)")
    least = min(table["bystander_damage"].min(), table["rise"].min(), 0)
    _plane(right, (oracles["bystander_damage"].mean(), reach), least)
    drawn.canvas.draw()
    label_ends(left, {method: (x, min(y, top)) for method, (x, y) in ends.items()})
    return drawn


def _plane(ax: plt.Axes, oracle: tuple[float, float], least: float) -> None:
    """Axes of rise against damage: equal scales' diagonal, and the oracle as the target."""
    limit = ZOOM * oracle[1]
    low = min(least, oracle[0]) - 0.1 * limit
    ax.plot([0, limit], [0, limit], color=FAINT, lw=1.2, zorder=0)
    note(ax, "both rise alike", (0.35 * limit, 0.35 * limit), "data", (8, -8), va="top", fontsize=8.5)
    ax.scatter(*oracle, marker="*", s=170, color=COLOURS["oracle"], zorder=5)
    note(ax, "oracle", oracle, "data", (0, 9), ha="center", color=COLOURS["oracle"])
    ax.set(xlim=(low, limit), ylim=(low, limit))
    ax.set(xlabel="rise of bystanders' NLL (nats)\n", ylabel="rise of the forget NLL (nats)")


def at_step(
    table: pd.DataFrame, oracles: pd.DataFrame, share: float, method: str = "first_epoch"
) -> plt.Figure:
    """One step of one path: forget and retain NLL as bars from the fine-tuned model, the oracles as stars."""
    drawn, ax = figure(2.0)
    rows = {"retain_nll": "retain facts", "forget_nll": "forget facts"}
    path = readings.along(table, method).groupby("share")[list(rows)].mean()
    for height, column in enumerate(rows):
        start, now, target = path.loc[0, column], path.loc[share, column], oracles[column].mean()
        ax.plot([start, now], [height, height], color=COLOURS[method], lw=9, alpha=0.5, solid_capstyle="butt")
        ax.plot(start, height, "|", color=INK, ms=20, mew=2)
        ax.plot(now, height, "o", color=COLOURS[method], ms=9)
        ax.plot(target, height, "*", color=COLOURS["oracle"], ms=14)
    ax.set_yticks(range(len(rows)), rows.values(), color=INK)
    ax.tick_params(axis="y", length=0)
    most = max(path.to_numpy().max(), oracles[list(rows)].to_numpy().max())
    ax.set(ylim=(-0.6, 1.6), xlim=(0, most * 1.03), xlabel="NLL of the answers (nats)")
    ax.spines["left"].set_visible(False)
    ax.set_title(f"{LABELS[method]}, step {share:.1%}:  | start   ● now   ★ oracle", fontweight="normal")
    return drawn
