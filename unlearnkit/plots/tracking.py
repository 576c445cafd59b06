"""Influence tracked: slopes of every score, shrinking gradients, who influences whom, and its validation."""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.plots.style import COLOURS, FAINT, INK, MUTED, figure, note
from unlearnkit.study.results.tracking import PLACES

WHOSE = {"target": COLOURS["target"], "control person": COLOURS["wrong_person"]}


def slopes(levels: dict[str, pd.DataFrame]) -> plt.Figure:
    """Seed means of each score (columns) before and after unlearning and in the oracle; a row an arm."""
    scores = list(dict.fromkeys(score for table in levels.values() for score in table["score"]))
    drawn, axes = figure(1.75 * len(levels) + 0.9, len(levels), len(scores), squeeze=False)
    for row, (arm, table) in zip(axes, levels.items(), strict=True):
        for ax, score in zip(row, scores, strict=True):
            here = table[table["score"] == score]
            for whose, lines in here.groupby("whose"):
                _slope(ax, lines, WHOSE[whose])
            ax.axhline(0, color=FAINT, lw=1, zorder=0)
            ax.set_xticks(range(3), PLACES if len(here) else [""] * 3)
            ax.set_xlim(-0.25, 2.35)
            ax.ticklabel_format(axis="y", scilimits=(-2, 3), useMathText=True)
            ax.yaxis.get_offset_text().set(fontsize=8, color=MUTED)
            if here.empty:
                note(ax, "not measured", (0.5, 0.5), "axes fraction", (0, 0), ha="center")
                ax.set_yticks([])
        row[0].set_ylabel(fill(arm, 22), fontsize=9)
    for ax, score in zip(axes[0], scores, strict=True):
        ax.set_title("\n".join(score.split(" ", 1)), fontweight="normal", fontsize=9.5, pad=14)
    marks = [plt.Line2D([], [], color=colour, marker="o", ms=5) for colour in WHOSE.values()]
    names = [f"facts of the {whose}" for whose in WHOSE]
    drawn.legend(marks, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return drawn


def _slope(ax: plt.Axes, lines: pd.DataFrame, colour: str) -> None:
    """A thin line a seed and a thick one for their mean; dotted on to the oracle, which is another model."""
    many = [(row, 0.8, 0.4) for row in lines[list(PLACES)].to_numpy()] if len(lines) > 1 else []
    for values, width, alpha in [*many, (lines[list(PLACES)].mean().to_numpy(), 2.4, 1)]:
        ax.plot([0, 1], values[:2], color=colour, lw=width, alpha=alpha)
        ax.plot([1, 2], values[1:], color=colour, lw=0.6 * width, alpha=alpha, ls=":")
    mean = lines[list(PLACES)].mean()
    ax.plot([0, 1], mean.iloc[:2], "o", color=colour, ms=5)
    ax.plot(2, mean.iloc[2], "*", color=colour, ms=10)


def shrinking(norms: dict[str, pd.DataFrame]) -> plt.Figure:
    """Length of the forget set's summed gradient by epoch, and now, as a share of the first epoch's."""
    drawn, axes = figure(2.9, 1, len(norms), sharey=True, squeeze=False)
    for ax, (arm, table) in zip(axes.flat, norms.items(), strict=True):
        by = table.groupby("vector", sort=False)["share"].agg(["mean", "min", "max"])
        xs = np.arange(1, len(by) + 1)
        ax.fill_between(
            xs[:-1], by["min"].iloc[:-1], by["max"].iloc[:-1], color=WHOSE["target"], alpha=0.2, lw=0
        )
        ax.plot(xs[:-1], by["mean"].iloc[:-1], "o-", color=WHOSE["target"], ms=4)
        now = by.iloc[-1]
        ax.plot([xs[-1]] * 2, [now["min"], now["max"]], color=INK, lw=4, alpha=0.3)
        ax.plot(xs[-1], now["mean"], "D", color=INK, ms=6)
        ticks = list(xs[: -2 : max(1, len(xs) // 4)])  # the last epoch's would touch the next word
        ax.set_xticks([*ticks, xs[-1]], [*(f"{x}" for x in ticks), "now"])
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        ax.set_title(fill(arm, 22), fontweight="normal", fontsize=9)
        ax.set_xlabel("epoch")
    axes[0, 0].set_ylabel("gradient, share of epoch 1's")
    return drawn


def influencers(table: pd.DataFrame, titles: dict[str, str]) -> plt.Figure:
    """Mean influence, with its interval, of each person's facts on the target's and the control person's.

    `table` as `validation.sources` gives it; the first query person in it is the target. A panel a score.
    """
    persons = list(dict.fromkeys(table["person"]))[::-1]
    drawn, axes = figure(0.4 * len(persons) + 1.3, 1, len(titles), sharey=True, squeeze=False)
    for ax, (metric, title) in zip(axes.flat, titles.items(), strict=True):
        queries = table[table["metric"] == metric].groupby("query", sort=False)
        for (query, here), colour, shift in zip(queries, WHOSE.values(), (0.15, -0.15), strict=False):
            heights = [persons.index(person) + shift for person in here["person"]]
            ax.hlines(heights, here["ci_low"], here["ci_high"], color=colour, lw=2)
            ax.plot(here["value"], heights, "o", color=colour, ms=6, label=f"on {query}'s facts")
        ax.axvline(0, color=FAINT, lw=1, zorder=0)
        ax.set_yticks(range(len(persons)), persons, color=INK)
        ax.tick_params(axis="y", length=0)
        ax.ticklabel_format(axis="x", scilimits=(-2, 3), useMathText=True)
        ax.set_title(title, fontweight="normal")
    drawn.supxlabel("mean influence of a fact on others than itself", fontsize=10)
    handles = axes[0, 0].get_legend_handles_labels()
    drawn.legend(*handles, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return drawn


def against_retraining(
    effects: pd.DataFrame, means: pd.DataFrame, names: dict[str, str], own: dict[str, str]
) -> plt.Figure:
    """Left: predicted against actual effect of leaving a person out. Right: every score's LDS, with interval.

    `effects` of one score; `means` as `validation.datamodel_means` gives it.
    """
    drawn, (left, right) = figure(3.5, 1, 2, width_ratios=[1, 1.1])
    for (person, here), colour in zip(effects.groupby("person", sort=False), WHOSE.values(), strict=False):
        label = f"{person}'s facts"
        left.scatter(here["predicted"], here["actual"], s=14, color=colour, alpha=0.55, lw=0, label=label)
    left.axhline(0, color=FAINT, lw=1, zorder=0)
    left.axvline(0, color=FAINT, lw=1, zorder=0)
    left.set_ylabel("actual rise of NLL (nats)")
    left.set_xlabel("predicted (TracIn, all epochs)", loc="left")  # beside the axis' power of ten
    left.set_title("Leaving a person out", fontweight="normal")
    left.ticklabel_format(axis="x", scilimits=(-2, 3), useMathText=True)
    marks = {"counted": ("o", MUTED, 0.13), "equal": ("s", INK, -0.13)}
    order = [name for name in names if name in set(means["scores"])][::-1]
    for row in means.itertuples():
        marker, colour, shift = marks[row.own]
        height = order.index(row.scores) + shift
        right.plot([row.ci_low, row.ci_high], [height, height], color=colour, lw=1.6)
        right.plot(row.rho, height, marker, color=colour, ms=6, label=own[row.own])
    right.axvline(0, color=FAINT, lw=1, zorder=0)
    right.set_yticks(range(len(order)), [fill(names[name], 18) for name in order], color=INK)
    right.tick_params(axis="y", length=0)
    right.set(ylim=(-0.5, len(order) - 0.3), xlabel="rank correlation over random halves")
    right.set_title("Random halves (LDS)", fontweight="normal")
    shared = {"frameon": False, "fontsize": 9, "ncols": 2, "handletextpad": 0.1, "columnspacing": 1}
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower left", **shared)
    handles = dict(zip(*right.get_legend_handles_labels()[::-1], strict=True))  # one of each label
    drawn.legend(handles.values(), handles.keys(), loc="outside lower right", **shared)
    return drawn
