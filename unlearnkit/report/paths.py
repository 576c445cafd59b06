"""Unlearning paths as lines, and the axes that they are drawn on."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.report.figures import COLOURS, MUTED, note

STEP = "step length, share of the fine-tuning displacement"
STEP_NARROW = STEP.replace(", ", ",\n")
ZOOM = 2.2  # an axis shows at most this many times the way from the fine-tuned model to the oracle
DAMAGE_TICKS = (0.2, 1, 5, 20)


def method_line(ax: plt.Axes, path: pd.DataFrame, x: str, y: str, method: str) -> tuple[float, float]:
    """One method: a thin line a seed, a thick one for their mean; returns where that ends.

    Steps at which y was not measured are passed over. Dots stand at steps that all seeds looked at.
    """
    path = path[path[y].notna()] if path[y].notna().any() else path
    colour = COLOURS[method]
    # On a logarithmic axis `straight` would draw a jump by orders of magnitude as a wall at its first step.
    joined = straight if ax.get_yscale() == "linear" else lambda xs, ys: (xs, ys)
    if len(set(path["seed"])) > 1:
        for _, one in path.groupby("seed"):
            ax.plot(*joined(one[x], one[y]), color=colour, lw=0.8, alpha=0.45)
    common = _common(path)
    ax.plot(*joined(*_mean(path, x, y, common["share"].max())), color=colour)
    steps = common.groupby("share")
    xs = list(steps.groups) if x == "share" else list(steps[x].mean())
    ys = list(steps[y].mean())
    ax.plot(xs, ys, "o", color=colour, ms=4)
    return xs[-1], ys[-1]


def _mean(path: pd.DataFrame, x: str, y: str, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds at every step that any looked at, up to `last`, each interpolated as readings are.

    Between steps that all share a straight line would leave the seeds' own lines; one that ends drops out.
    """
    shares = np.array(sorted({share for share in path["share"] if share <= last}))
    seeds = [one.sort_values("share") for _, one in path.groupby("seed")]
    means = [
        np.nanmean([np.interp(shares, one["share"], one[column], right=np.nan) for one in seeds], axis=0)
        for column in (x, y)
    ]
    return means[0], means[1]


def _common(path: pd.DataFrame) -> pd.DataFrame:
    """The rows at steps that all seeds looked at which went so far: not at those towards one's readings."""
    ends, looked = path.groupby("seed")["share"].max(), path.groupby("share")["seed"].nunique()
    common = [share for share, seeds in looked.items() if seeds == (ends >= share).sum()]
    return path[path["share"].isin(common)]


def straight(xs: Sequence[float], ys: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The points with 30 more on every straight piece between them, so that a logarithmic axis bends it.

    Readings interpolate linearly; a line drawn straight on such an axis would contradict them.
    """
    places = np.linspace(0, len(xs) - 1, 30 * (len(xs) - 1) + 1)
    return tuple(np.interp(places, range(len(xs)), values) for values in (list(xs), list(ys)))


def distance_axes(left: plt.Axes, right: plt.Axes, floor: float | None) -> None:
    """Label two panels of D_F, the left one along the step; the band is one oracle against the others."""
    if floor is not None:
        for ax in (left, right):
            ax.axhspan(0, floor, color=COLOURS["oracle"], alpha=0.25, lw=0)
        where = (0.02, floor), ("axes fraction", "data"), (0, 2)
        note(left, "oracles among themselves", *where, color=COLOURS["oracle"])
    left.set(xlabel=STEP_NARROW, ylabel="distance to the oracle, $D_F$ (nats)")


def damage_axis(ax: plt.Axes, damage: float, seen: pd.Series, name: str = "second reading") -> None:
    """Retain damage, linear up to the reading point, which is named, and logarithmic beyond it.

    Call it when the lines are drawn: it fixes the left end, and with it what the axis reaches.
    """
    ticks = [damage, *(tick for tick in DAMAGE_TICKS if damage < tick <= max(seen.max(), 2 * damage))]
    ax.set_xscale("symlog", linthresh=damage, linscale=0.6)
    ax.set_xticks([0, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
    ax.set_xticks([], minor=True)
    ax.set_xlim(left=min(0, seen.min()) - damage / 4)
    ax.axvline(damage, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(ax, name, (damage, 1), ("data", "axes fraction"), (3, -2), va="top")
    ax.set_xlabel("retain damage (nats)\n")
