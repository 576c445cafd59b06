"""Calibration of the ascent: the re-exposure region, where rules stop, what stopping there costs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.plots.paths import STEP_NARROW, method_line
from unlearnkit.plots.style import COLOURS, INK, LABELS, MUTED, figure, note, step_axis
from unlearnkit.study import results
from unlearnkit.study.results.calibration import PATHS, REFERENCE
from unlearnkit.study.results.stopping import RULES

BELOW, ABOVE = -0.02, 0.06  # nats shown around the start, at least
MARKS = {"memorisation": "s", "stranger": "^", "budget": "o", "oracle": "*"}
SHORT = {
    "memorisation": "memorisation\nas of strangers",
    "stranger": "NLL\nas of strangers",
    "budget": "retain budget",
    "oracle": "NLL as in\nthe oracle",
}
EXPOSED = "#F6D9CC"


def exposure(table: pd.DataFrame, stops: pd.DataFrame) -> plt.Figure:
    """Change of the forget NLL along the step: near the start with the re-exposure region, and all the way.

    `table` is `calibration.paths_of`, `stops` is `stopping.stops`.
    """
    drawn, (near, whole) = figure(4.3, 1, 2)
    table = table[(table["layers"] == "all") | (table["method"] == "finetuned")]
    shown = [m for layers, m in PATHS if layers == "all" and m in set(table["method"])]
    for method in shown:
        path = results.along(table, method)
        for ax in (near, whole):
            method_line(ax, path, "share", "rise", method)
    steps = sorted(set(table.loc[table["method"] == REFERENCE[1], "share"]))
    for ax in (near, whole):
        step_axis(ax, steps[::2])
        ax.set_xlim(right=1.1 * steps[-1])
        ax.axhline(0, color=INK, lw=1)
        ax.set_xlabel(STEP_NARROW)
    lowest = min(table.loc[table["method"].isin(shown), "rise"].min(), 0)
    near.set(ylim=(min(BELOW, 1.4 * lowest), max(ABOVE, -1.4 * lowest)))
    near.axhspan(near.get_ylim()[0], 0, color=EXPOSED, lw=0, zorder=0)
    note(
        near, "likelier than before: re-exposed", (0.97, 0.03), "axes fraction", (0, 0), color=INK, ha="right"
    )
    near.set(ylabel="change of the forget NLL (nats)", title="Close to the start")
    _oracle(whole, table)
    _stopping_points(whole, stops)
    whole.set_title("All the way")
    _methods(drawn, shown)
    return drawn


def _methods(drawn: plt.Figure, shown: list[str]) -> None:
    """The lines' names above the panels, where they cannot collide with lines."""
    lines = [plt.Line2D([], [], color=COLOURS[m], marker="o", ms=4) for m in shown]
    drawn.legend(
        lines, [LABELS[m] for m in shown], loc="outside upper center", ncols=5, frameon=False, fontsize=8.5,
        columnspacing=1.2, handlelength=1.4,
    )  # fmt: skip


def _stopping_points(ax: plt.Axes, stops: pd.DataFrame) -> None:
    """On the reference path, a mark where each rule stops (means); hollow if some seed never does."""
    mine = stops[(stops["layers"] == REFERENCE[0]) & (stops["method"] == REFERENCE[1])]
    for rule, rows in mine.groupby("rule", sort=False):
        met = rows["met"].all()
        face = COLOURS["oracle"] if rule == "oracle" else INK
        size = 15 if rule == "oracle" else 8
        ax.plot(
            rows["share"].mean(),
            rows["rise"].mean(),
            MARKS[rule],
            ms=size,
            mfc=face if met else "white",
            mec=face if not met else "white",
            zorder=6,
            label=RULES[rule].label,
            ls="",
        )
    if len(mine):
        ax.legend(
            loc="upper left",
            frameon=False,
            fontsize=8.5,
            title="rule that stops here",
            title_fontsize=8.5,
            alignment="left",
        )


def _oracle(ax: plt.Axes, table: pd.DataFrame) -> None:
    """The oracles' own distance from the start, which is the same at every step."""
    target = (table["rise"] - table["oracle_gap"]).mean()
    ax.axhline(target, color=COLOURS["oracle"], lw=1.4)
    ax.set_ylim(top=max(ax.get_ylim()[1], 1.1 * target))
    where = (1, target), ("axes fraction", "data"), (-2, -3)
    note(ax, "oracle", *where, ha="right", va="top", color=COLOURS["oracle"])


def stop_costs(stops: pd.DataFrame) -> plt.Figure:
    """Retain damage and distance to the oracle where each rule stops each path; means over seeds.

    Hollow marks: some seed never gets there, and is read at its longest step.
    """
    rules = [r for r in RULES if r in set(stops["rule"])]
    drawn, (damage, distance) = figure(0.85 * len(rules) + 1.5, 1, 2, sharey=True)
    present = [p for p in PATHS if ((stops["layers"] == p[0]) & (stops["method"] == p[1])).any()]
    places = np.linspace(0.3, -0.3, len(present))
    for place, (layers, method) in zip(places, present, strict=True):
        rows = stops[(stops["layers"] == layers) & (stops["method"] == method)].groupby("rule")
        means, met = rows[["damage", "oracle_distance"]].mean(), rows["met"].all()
        mark = "D" if layers != "all" else "o"
        label = LABELS[method] if layers == "all" else f"{LABELS[method]}, {layers}"
        for ax, column in ((damage, "damage"), (distance, "oracle_distance")):
            for height, rule in enumerate(reversed(rules)):
                if rule in means.index:
                    colour, full = COLOURS[method], met[rule]
                    told = {"mfc": colour if full else "white", "mec": colour, "ms": 7}
                    first = ax is damage and height == 0
                    spot = means.loc[rule, column], height + place
                    ax.plot(*spot, mark, label=label if first else None, **told)
    _cost_axes(damage, distance, rules)
    drawn.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return drawn


def _cost_axes(damage: plt.Axes, distance: plt.Axes, rules: list[str]) -> None:
    damage.set_yticks(range(len(rules)), [SHORT[r] for r in reversed(rules)], color=INK)
    damage.set_xscale("symlog", linthresh=0.05, linscale=0.6)
    damage.set_xticks([0, 0.05, 0.2, 1, 5], ["0", "0.05", "0.2", "1", "5"])
    damage.set_xticks([], minor=True)
    damage.set_xlim(left=-0.02)
    damage.set_xlabel("retain damage there (nats)")
    distance.set_xlim(left=0)
    distance.set_xlabel("distance to the oracle there, $D_F$ (nats)")
    for ax in (damage, distance):
        ax.tick_params(axis="y", length=0)
        for height in range(len(rules) - 1):
            ax.axhline(height + 0.5, color=MUTED, lw=0.5, alpha=0.5)


def fresh_and_stale(table: pd.DataFrame) -> plt.Figure:
    """Fresh against stored gradients: change of the forget NLL by distance, and by damage."""
    drawn, (left, right) = figure(3.9, 1, 2, sharey=True)
    shown = [m for m in ("recomputed", *results.CORE) if m in set(table["method"])]
    moved = (table["norm"] / table["share"])[table["method"] == REFERENCE[1]].mean()
    for method in shown:
        path = results.along(table, method)
        method_line(left, path.assign(distance=path["norm"] / moved), "distance", "rise", method)
        method_line(right, path, "damage", "rise", method)
    fresh = results.along(table, "recomputed")
    top = 1.6 * fresh.groupby("share")["rise"].mean().max()
    left.set(xlim=(0, 2.2 * fresh["norm"].max() / moved), ylim=(min(0, table["rise"].min()), top))
    left.set(xlabel="distance from the start, share of the\nfine-tuning displacement")
    left.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.2g}%")
    left.set_ylabel("change of the forget NLL (nats)")
    right.set(xlim=(min(0, fresh["damage"].min()), 2.5 * fresh["damage"].max()))
    right.set_xlabel("retain damage (nats)\n")
    _methods(drawn, shown)
    return drawn
