"""What the ledger costs: sides against each other, growth, bytes by layer kind, requests."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.plots.style import COLOURS, FAINT, INK, MUTED, figure, note

OURS = COLOURS["target"]
PARTS = {
    "output gradients": "#0072B2",
    "inputs": "#56B4E9",
    "token ids": "#009E73",
    "sums over tokens": "#E69F00",
    "dense gradients": "#7F7F7F",
}


def ratios(tables: dict[str, pd.DataFrame], baseline: str, ours: str, label: str) -> plt.Figure:
    """One panel a model: every side's median ratio on a log axis, whiskers its quartiles, ours in colour."""
    longest = max(len(table) for table in tables.values())
    top = max(table[["high", "ratio"]].to_numpy().max() for table in tables.values())
    drawn, axes = figure(0.34 * longest + 1.1, 1, len(tables), squeeze=False, sharex=True)
    for ax, (model, table) in zip(axes.flat, tables.items(), strict=True):
        table = table[table["side"] != baseline].iloc[::-1].reset_index(drop=True)
        for height, row in table.iterrows():
            colour = OURS if row["side"].startswith(ours) else MUTED
            ax.plot([row["low"], row["high"]], [height, height], color=colour, lw=1.2)
            ax.scatter(row["ratio"], height, s=42, color=colour, zorder=3)
            place = (max(row["high"], row["ratio"]), height)
            note(ax, f"{row['ratio']:.3g} ×", place, "data", (6, 0), va="center", color=colour)
        ax.axvline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
        ax.set_yticks(range(len(table)), table["side"], color=INK)
        ax.tick_params(axis="y", length=0)
        _plain_log(ax)
        ax.set(title=model, ylim=(-0.6, len(table) - 0.4), xlabel=label)
        ax.set_xlim(0.8, max(2.0, top) * 2.5)
    return drawn


def _plain_log(ax: plt.Axes) -> None:
    """A log axis with few ticks, written as people write numbers."""
    ax.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100, 200]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.set_xticks([], minor=True)


def growth(table: pd.DataFrame) -> plt.Figure:
    """Two rows of a panel for each thing that grows: the step's ratio, and how much smaller records are."""
    grows = list(table["grows"].unique())
    drawn, axes = figure(4.4, 2, len(grows), squeeze=False, sharey="row")
    for column, what in enumerate(grows):
        mine = table[table["grows"] == what]
        top, bottom = axes[:, column]
        top.fill_between(mine["value"], mine["low"], mine["high"], color=OURS, alpha=0.18, lw=0)
        top.plot(mine["value"], mine["ratio"], color=OURS, marker="o", ms=4.5)
        top.axhline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
        bottom.plot(mine["value"], mine["smaller"], color=COLOURS["all_epochs"], marker="o", ms=4.5)
        bottom.set(xlabel=what, yscale="log")
        for ax in (top, bottom):
            ax.set_xscale("log")
            apart = [
                v for v, before in zip(mine["value"], [0, *mine["value"]], strict=False) if v > 1.6 * before
            ]
            ax.set_xticks(apart, [_short(value) for value in apart])
            ax.set_xticks([], minor=True)
            ax.tick_params(axis="x", labelsize=8)
    axes[0, 0].set_ylabel("step with ledger,\n× plain step")
    axes[1, 0].set_ylabel("dense fp32 bytes,\n× the record's")
    low, high = table["smaller"].min(), table["smaller"].max()
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200) if low / 2 <= tick <= high * 2]
    axes[1, 0].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[1, 0].set_yticks([], minor=True)
    return drawn


def _short(value: float) -> str:
    """`3.5M`, `12M`, `128`."""
    return f"{value / 1e6:.2g}M" if value >= 1e5 else f"{value:g}"


def kinds(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """One panel a model: megabytes an example by layer kind, stacked by what is stored."""
    longest = max(len(table) for table in tables.values())
    drawn, axes = figure(0.36 * longest + 1.5, 1, len(tables), squeeze=False)
    labels: dict[str, object] = {}
    for ax, (model, table) in zip(axes.flat, tables.items(), strict=True):
        table = table.iloc[::-1]
        heights, left = range(len(table)), np.zeros(len(table))
        for part in (p for p in PARTS if p in table):
            width = table[part].to_numpy() / 1e6
            labels[part] = ax.barh(heights, width, left=left, height=0.62, color=PARTS[part])
            left = left + width
        for height, (end, dense) in enumerate(zip(left, table["dense"], strict=True)):
            text = f"dense {dense / 1e6:,.3g} MB" if dense else "tied"
            note(ax, text, (end, height), "data", (4, 0), va="center", fontsize=8)
        ax.set_yticks(heights, table.index, color=INK)
        ax.tick_params(axis="y", length=0)
        ax.set(title=model, xlabel="MB an example", xlim=(0, left.max() * 1.55))
    drawn.legend(
        labels.values(),
        labels.keys(),
        ncols=len(labels),
        frameon=False,
        loc="outside lower center",
        fontsize=9,
    )
    return drawn


def retraining(curves: dict[str, pd.DataFrame], measured: dict[str, tuple[float, float]]) -> plt.Figure:
    """How many times faster a request is than retraining, over examples; a line for each number of epochs.

    `curves` (columns examples, epochs, speedup) are extrapolated, `measured` (examples, ratio) is not.
    """
    drawn, axes = figure(3.3, 1, len(curves), squeeze=False, sharey=True)
    for ax, (model, table) in zip(axes.flat, curves.items(), strict=True):
        for epochs, line in table.groupby("epochs"):
            ax.plot(line["examples"], line["speedup"], color=MUTED, lw=1.4)
            end = (line["examples"].iloc[-1], line["speedup"].iloc[-1])
            name = "1 epoch" if epochs == 1 else f"{epochs} epochs"
            note(ax, name, end, "data", (4, 0), va="center")
        if model in measured:
            ax.scatter(*measured[model], s=55, color=OURS, zorder=3)
            note(ax, "measured", measured[model], "data", (8, -10), color=OURS)
        ax.axhline(1, color=FAINT, lw=1)
        ax.set(xscale="log", yscale="log", xlabel="examples", title=model)
        ax.set_xlim(right=table["examples"].max() * 4)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
            axis.set_minor_formatter(lambda value, _: "")
    axes[0, 0].set_ylabel("retraining, × the request")
    return drawn
