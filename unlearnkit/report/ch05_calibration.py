"""Chapter 05: how far the ascent should go. Exposure, overshooting, and stored against recomputed gradients.

Two readings of a bad calibration: the model gets farther from the oracle than it was at the start, which is
what overshooting does (claim C4), or the forget facts become likelier than before any unlearning (C4a).
Readings are linear between two measured steps of a path, the start being its first.
"""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.claims import CLAIMS
from unlearnkit.report import contrasts, tables
from unlearnkit.report.ch04_alignment import vectors
from unlearnkit.report.figures import COLOURS, LABELS, MUTED
from unlearnkit.report.readings import along, is_path, path_table
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.readings import at, crossing

# (layers, method): the paths of this chapter, those of the claim first and the controls last.
PATHS = (
    ("all", "first_epoch"),
    ("all", "all_epochs"),
    ("all", "recomputed"),
    ("embedding", "first_epoch"),
    ("all", "wrong_person"),
    ("all", "random_direction"),
    ("all", "adam_replay"),
)
# Kinds of ascent that both claims are asked of: stored gradients, AdamW's updates, and recomputed ones.
ASCENTS = ("first_epoch", "all_epochs", "adam_replay", "recomputed")
REFERENCE = PATHS[0]


def name(layers: str, method: str) -> str:
    """What to call a path: the update, and the layers where they are not all."""
    epoch = method.removeprefix("epoch_")
    called = f"epoch {epoch}'s gradients" if epoch != method else tables.NAMES[method]
    return called if layers == "all" else f"{called}, {layers} only"


def margin(run: Run) -> float:
    """The smallest change of NLL or D_F that matters, in nats: the reader's, or that of claim C4."""
    return run.margin or next(claim.margin for claim in CLAIMS if claim.id == "C4")


def paths_of(arm: Arm) -> pd.DataFrame:
    """The path table of every path on all layers and of the embedding's first epoch."""
    table = path_table(arm, layers=None, methods=None)
    return table[(table["layers"] == "all") | is_path(table, *PATHS[3])]


@cache
def exposure(arm: Arm) -> pd.DataFrame:
    """Both readings of "re-exposed" on every path, those of PATHS first: a row a path and seed.

    layers, method, path (in words), seed
    dip         lowest forget NLL minus the start's over the measured steps, in nats, at most 0
    farther     step (share) at which D_F is first above the start's by `margin`; NaN where it never is
    first_step  the shortest measured step (share)
    cosine      of the path's direction with today's forget gradient, mean over all seeds: below 0 the forget
                loss starts by falling. Finer than any step, but silent on what comes after the start
    """
    table, cosines, found = paths_of(arm), slopes(arm), []
    for layers, method in dict.fromkeys([*PATHS, *zip(table["layers"], table["method"], strict=True)]):
        cosine = cosines.get(method, np.nan) if layers == "all" else np.nan
        row = {"layers": layers, "method": method, "cosine": cosine}
        for seed, path in along(table, method, layers).groupby("seed"):
            if len(path) < 2:
                continue  # the start itself, or a path that this seed does not walk
            path = path.set_index("share")
            away = path["oracle_distance"] - path["oracle_distance"].iloc[0]
            farther, met = crossing(away, margin(arm.run))
            row |= {"path": name(layers, method), "seed": seed, "dip": min(0.0, path["rise"].min())}
            found.append(row | {"farther": farther if met else np.nan, "first_step": path.index[1]})
    columns = ("layers", "method", "path", "seed", "dip", "farther", "first_step", "cosine")
    return tables.frame(found, *columns)


def both_ways(run: Run) -> pd.DataFrame:
    """C4's and C4a's numbers along every one of ASCENTS: a row an arm, method and seed that walks it.

    arm, method, seed; farther (largest D_F along the path less that at its start), falls (forget NLL at the
    start less its lowest; 0 where it never falls), end (the longest step, a share), met (whether the path
    meets the oracle's forget NLL: one that does not has had no chance to overshoot).
    """
    found = []
    for arm in run.arms:
        table = path_table(arm, methods=ASCENTS)
        for method in (m for m in ASCENTS if m in set(table["method"])):
            for seed, path in along(table, method).groupby("seed"):
                if len(path) > 1:
                    away = path["oracle_distance"].max() - path["oracle_distance"].iloc[0]
                    ends = max(0.0, -path["rise"].min()), path["share"].iloc[-1]
                    found.append((arm.name, method, seed, away, *ends, bool((path["oracle_gap"] >= 0).any())))
    return tables.frame(found, "arm", "method", "seed", "farther", "falls", "end", "met")


def slopes(arm: Arm) -> pd.Series:
    """By method, cosine of its direction with today's forget gradient, on all layers, mean over seeds."""
    table = vectors(arm)
    table = table[
        (table["layers"] == "all") & table["vector"].str.match("epoch_|all_epochs|adam_|wrong_person")
    ]
    return table.groupby(table["vector"].replace("epoch_1", "first_epoch"), sort=False)["with_now"].mean()


def epochs_alone(arm: Arm) -> pd.DataFrame:
    """`exposure` of every epoch's gradients alone, in the seeds that walk them: a row an epoch and seed.

    Also epoch (a number), step (the shortest one, as a share, that all measured), and change (of the forget
    NLL, there).
    """
    table = exposure(arm).query("layers == 'all'")
    number = table["method"].replace("first_epoch", "epoch_1").str.extract(r"^epoch_(\d+)$", expand=False)
    table = table.assign(epoch=number).dropna(subset="epoch").astype({"epoch": int})
    table = table[table["seed"].isin(table.loc[table["epoch"] == 2, "seed"])]
    there = path_table(arm, methods=None).rename(columns={"share": "step", "rise": "change"})
    table = table.assign(step=table["first_step"].max())
    table = table.merge(there[["seed", "method", "step", "change"]], "left", ["seed", "method", "step"])
    return table.sort_values(["epoch", "seed"], ignore_index=True)


def fresh_minus_stored(arm: Arm) -> pd.DataFrame:
    """Rise by fresh minus that by stored first-epoch gradients after the same way.

    Columns of `contrasts.contrast`, with the number of the fresh ones' application in `against`; Holm over
    the applications.
    """
    table, found = path_table(arm, methods=("first_epoch", "recomputed")), []
    for seed, here in table.groupby("seed"):
        stored, fresh = (along(here, m).set_index("norm")["rise"] for m in ("first_epoch", "recomputed"))
        found += [(seed, k, v, at(stored, n)) for k, (n, v) in enumerate(fresh.iloc[1:].items(), start=1)]
    wide = tables.frame(found, "seed", "k", "fresh", "stored").pivot_table(index="seed", columns="k")
    return contrasts.family({k: (wide["fresh", k], wide["stored", k]) for k in wide.columns.levels[1]})


def grid(path: pd.DataFrame) -> set[float]:
    """Steps (shares) of a path that all its seeds looked at: not those towards one seed's own readings."""
    seeds = path.groupby("share")["seed"].nunique()
    return set(seeds.index[seeds == path["seed"].nunique()])


def rules_named(drawn: plt.Figure, ax: plt.Axes, title: str) -> None:
    """The legend of a panel's stopping rules, below the panels, where it cannot collide with lines."""
    look = {"fontsize": 8, "title_fontsize": 8, "handletextpad": 0.1, "frameon": False, "ncols": 4}
    look["columnspacing"] = 1.2
    drawn.legend(*ax.get_legend_handles_labels(), title=title, loc="outside lower center", **look)


def methods_above(drawn: plt.Figure, shown: list[str], dashed: str = "") -> None:
    """The lines' names above the panels, where they cannot collide with lines; and what dashed ones are."""
    lines = [plt.Line2D([], [], color=COLOURS[m], marker="o", ms=4) for m in shown]
    lines += [plt.Line2D([], [], color=MUTED, ls="--", lw=1.4)] if dashed else []
    told = {"frameon": False, "fontsize": 8.5, "columnspacing": 1.2, "handlelength": 1.4}
    names = [*(LABELS[m] for m in shown), dashed][: len(lines)]
    drawn.legend(lines, names, loc="outside upper center", ncols=5, **told)
