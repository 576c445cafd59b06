"""Chapter 00: the answer in a few numbers, what the models say, the method as a drawing, and costs."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.patches import FancyBboxPatch

from unlearnkit.report import tables
from unlearnkit.report.contrasts import unless  # noqa: F401 (notebooks take it from here)
from unlearnkit.report.figures import COLOURS, FAINT, INK, LABELS, MUTED, figure
from unlearnkit.report.oracles import oracle_nll
from unlearnkit.report.readings import along, fact_paths, matched_damage, path_table
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.grid import KINDS
from unlearnkit.study.readings import at

SAID_BY = ("pretrained", "finetuned", "first_epoch", "oracle")


# -- the answer -------------------------------------------------------------------------------------------


def nearest_step(arm: Arm, method: str = "first_epoch") -> pd.DataFrame:
    """Every seed at the measured step where a path comes nearest to the oracle on the mean over seeds.

    Indexed by seed: share (of the fine-tuning displacement), oracle_distance, start (that distance before
    any step), damage (nats of the retain facts).
    """
    path = along(path_table(arm), method)
    start = path[path["share"] == 0].set_index("seed")["oracle_distance"]
    walked = path[path["share"] > 0]
    share = walked.groupby("share")["oracle_distance"].mean().idxmin()
    found = walked[walked["share"] == share].set_index("seed")
    return found[["share", "oracle_distance", "damage"]].assign(start=start)


def still_known(arm: Arm, method: str = "first_epoch") -> float:
    """Share of forget facts that are likelier than under the oracle, at matched damage, over all seeds."""
    known, oracles = [], oracle_nll(arm).mean(axis=1)
    for row in matched_damage(arm, methods=(method,)).itertuples():
        path = fact_paths(arm)[row.seed, "all", method]
        known += [at(path[fact].dropna(), row.norm) < oracles[fact] for fact in path if fact in oracles]
    return sum(known) / len(known) if known else float("nan")


def answers(arm: Arm, shown: int) -> pd.DataFrame:
    """What each model of seed 0 says to the first forget prompts, a column a model, the truth beside."""
    said = arm.continuations.head(shown)
    return said[["prompt", "answer", *(m for m in SAID_BY if m in said)]].rename(columns=LABELS)


# -- costs ------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if not seconds >= 90:
        return f"{tables.number(seconds, '.0f')} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def costs(run: Run) -> pd.DataFrame:
    """Mean seconds and peak memory of each kind of work, by arm."""
    table = run.costs.groupby(["arm", "stage"], sort=False)
    table = table.agg(runs=("seconds", "size"), seconds=("seconds", "mean"), peak=("peak_gb", "max"))
    table = table.reset_index()
    table["stage"] = table["stage"].map(KINDS)
    table["time each"] = table.pop("seconds").map(duration)
    table["peak memory"] = (table.pop("peak") * 1e9).map(tables.bytes_of)
    return table.rename(columns={"stage": "work"})


# -- the method in one drawing ----------------------------------------------------------------------------


def diagram(target: str, epochs: int) -> plt.Figure:
    """Fine-tuning over epochs with its ledger below, the first epoch added back, the oracle beside."""
    drawn, ax = figure(3.5)
    ax.set(xlim=(-0.1, 10.1), ylim=(-0.45, 3.75))
    ax.axis("off")
    y, first, oracle = 2.2, COLOURS["first_epoch"], COLOURS["oracle"]
    _box(ax, 0.8, y, "pretrained\n$\\theta_0$", COLOURS["pretrained"])
    _arrow(ax, (1.6, y), (2.15, y), INK)
    for x, text, epoch in ((2.75, "epoch 1", "1"), (4.15, "…", ""), (5.55, f"epoch {epochs}", f"{epochs}")):
        _box(ax, x, y, text, first if epoch == "1" else FAINT, width=1.0)
        _arrow(ax, (x + 0.55, y), (x + 0.85 if x < 5 else 6.35, y), INK)
        if epoch:
            colour = first if epoch == "1" else MUTED
            _arrow(ax, (x, y - 0.38), (x, 0.95), colour)
            ax.text(x + 0.1, 1.35, f"$g_{{{epoch},i}}$", color=colour)
    _box(ax, 4.15, 0.55, "ledger: one gradient per fact and epoch", MUTED, width=4.1)
    _box(ax, 7.15, y, "fine-tuned\n$\\theta_T$", INK)
    _arrow(ax, (6.3, 0.55), (8.35, 0.55), first)
    ax.text(7.25, 0.7, f"{target}'s, epoch 1", fontsize=9, color=first, ha="center")
    _box(ax, 9.2, 0.55, "unlearned", first)
    _arrow(ax, (7.5, y - 0.38), (8.9, 0.93), INK)
    ax.text(9.2, -0.2, "$\\theta_T + \\alpha\\,\\sum_{i \\in F} g_{1,i}$", ha="center", color=INK)
    _box(ax, 9.2, 3.35, "oracle", oracle)
    around = {"connectionstyle": "angle,angleA=90,angleB=180,rad=8"}
    _arrow(ax, (0.8, y + 0.4), (8.4, 3.35), oracle, **around)
    ax.text(4.6, 3.47, f"the same training without {target}", fontsize=9, color=oracle, ha="center")
    _arrow(ax, (9.2, 2.95), (9.2, 0.97), oracle, arrowstyle="<|-|>", ls=(0, (3, 2)))
    ax.text(9.3, 1.95, "how\nclose?", fontsize=9, color=oracle, va="center")
    return drawn


def _box(ax: plt.Axes, x: float, y: float, text: str, colour: str, width: float = 1.5) -> None:
    style = {"boxstyle": "round,pad=0.04", "ec": colour, "fc": "white", "lw": 1.6}
    ax.add_patch(FancyBboxPatch((x - width / 2, y - 0.3), width, 0.6, **style))
    ax.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)


def _arrow(ax: plt.Axes, start: tuple, end: tuple, colour: str, **options) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8} | options)
