"""What fine-tuning did: curves by person, perplexity of each set, and the hold-out as a yardstick."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.plots.style import COLOURS, FAINT, INK, LABELS, MUTED, figure, label_ends, note

SETS = {
    "forget": "forget facts",
    "retain": "retain facts",
    "paraphrase": "forget facts, paraphrased",
    "holdout": "hold-out facts",
    "utility": "encyclopedia",
}


def memorisation(curves: dict[str, pd.DataFrame], target: str) -> plt.Figure:
    """Share of answer tokens predicted right, by person over epochs; one panel an arm."""
    drawn, axes = figure(3.3, 1, len(curves), sharey=True, squeeze=False)
    for ax, (arm, table) in zip(axes.flat, curves.items(), strict=True):
        ends, others = {}, []
        for person, curve in table.groupby("person"):
            mine = person == target
            ax.plot(
                curve["epoch"],
                curve["value"],
                color=COLOURS["target"] if mine else MUTED,
                lw=2.6 if mine else 1,
                marker="o",
                ms=5 if mine else 3,
                alpha=1 if mine else 0.6,
                zorder=3 if mine else 2,
            )
            end = (curve["epoch"].iloc[-1], curve["value"].iloc[-1])
            if mine:
                ends[target] = end
            else:
                others.append(end)
        if others:
            name = f"{len(others)} others" if len(others) > 1 else "the others"
            ends[name] = tuple(np.mean(others, axis=0))
        ax.set(ylim=(0, 1.04), xlim=(-0.2, table["epoch"].max()), xlabel="epoch")
        ax.set_title(arm.replace("-pretrained", "").replace(", ", "\n"), fontsize=9)
        ax.xaxis.get_major_locator().set_params(integer=True)
        drawn.canvas.draw()
        label_ends(ax, ends, **{name: MUTED for name in ends} | {target: COLOURS["target"]})
    axes[0, 0].set_ylabel("exact memorisation")
    return drawn


def perplexities(table: pd.DataFrame) -> plt.Figure:
    """Perplexity of each set before and after fine-tuning, and of the oracle, on a log axis."""
    drawn, ax = figure(0.62 * len(table) + 1.1)
    models = [m for m in ("pretrained", "finetuned", "oracle") if m in table]
    for height, name in enumerate(reversed(table.index)):
        row = table.loc[name, models]
        ax.plot([row.min(), row.max()], [height, height], color=FAINT, lw=2, zorder=1)
        for model in models:
            mark = {"oracle": "*", "finetuned": "o", "pretrained": "D"}[model]
            size = {"oracle": 130, "finetuned": 70, "pretrained": 45}[model]
            ax.scatter(row[model], height, marker=mark, s=size, color=COLOURS[model], zorder=3, label=model)
    ax.set_xscale("log")
    ax.set_yticks(range(len(table)), [SETS[name] for name in reversed(table.index)], color=INK)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set(ylim=(-0.5, len(table) - 0.5), xlabel="perplexity (log scale)")
    handles, _ = ax.get_legend_handles_labels()
    names = [LABELS[m] for m in models]
    ax.legend(
        handles[: len(models)],
        names,
        ncols=3,
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        fontsize=9,
    )
    return drawn


def yardstick(table: pd.DataFrame, target: str) -> plt.Figure:
    """Each never-trained person's mean NLL under the oracle as a dot, the targets too."""
    drawn, ax = figure(1.9)
    held = table[~table["is_target"]]["oracle"].to_numpy()
    height = np.random.default_rng(0).uniform(-0.22, 0.22, len(held))
    ax.scatter(held, height, s=26, color=MUTED, alpha=0.55, lw=0)
    mine = table[table["is_target"]]
    marks = (("finetuned", f"{target}, fine-tuned", "o", 90), ("oracle", f"{target}, oracle", "*", 210))
    for model, label, marker, size in marks:
        ax.scatter(mine[model], [0] * len(mine), marker=marker, s=size, color=COLOURS[model], zorder=4)
        note(ax, label, (mine[model].mean(), 0), "data", (0, 26), ha="center", color=COLOURS[model])
    note(ax, "persons never trained on", (np.median(held), 0), "data", (0, -34), ha="center")
    ax.set(yticks=[], ylim=(-0.75, 0.75), xlabel="mean NLL of a person's answers (nats)")
    ax.set_xlim(left=min(0, mine["finetuned"].min()) - 0.1)
    ax.spines["left"].set_visible(False)
    return drawn
