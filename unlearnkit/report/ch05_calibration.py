"""Chapter 05: how far the ascent should go. Re-exposure, overshooting, and stored against fresh gradients.

Two readings of "re-exposed": the forget facts become likelier than before any unlearning (claim C4's), or the
model gets farther from the oracle than it was at the start, which is what overshooting does. Readings are
linear between two measured steps of a path, the start being its first.
"""

from collections.abc import Mapping
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.claims import CLAIMS
from unlearnkit.report import tables
from unlearnkit.report.ch04_alignment import vectors
from unlearnkit.report.contrasts import contrast, with_holm
from unlearnkit.report.figures import COLOURS, INK, LABELS, MUTED, figure, note, step_axis
from unlearnkit.report.paths import STEP_NARROW, method_line
from unlearnkit.report.readings import CORE, along, is_path, path_table
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
)
REFERENCE = PATHS[0]
BELOW, ABOVE = -0.02, 0.06  # nats shown around the start, at least
EXPOSED = "#F6D9CC"
MARKS = ("s", "^", "o", "*")  # of stopping rules, in their order
STEPS = {  # columns of a path, as the table of its steps calls them
    "rise": "change of forget NLL",
    "exact_memorisation": "exact memorisation",
    "rougeL_recall": "ROUGE-L recall",
    "damage": "retain damage",
}


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


# -- re-exposure ------------------------------------------------------------------------------------------


@cache
def exposure(arm: Arm) -> pd.DataFrame:
    """Both readings of "re-exposed" on every path: a row a seed, layers and method.

    dip         lowest forget NLL minus the start's over the measured steps, in nats, at most 0
    farther     step (share) at which D_F is first above the start's by `margin`; NaN where it never is
    first_step  the shortest measured step (share)
    """
    found, smallest = [], margin(arm.run)
    for seed, here in paths_of(arm).groupby("seed"):
        for layers, method in dict.fromkeys(zip(here["layers"], here["method"], strict=True)):
            path = along(here, method, layers).set_index("share")
            if len(path) < 2:
                continue  # the start itself
            farther, met = crossing(path["oracle_distance"] - path["oracle_distance"].iloc[0], smallest)
            row = {"seed": seed, "layers": layers, "method": method, "dip": min(0.0, path["rise"].min())}
            found.append(row | {"farther": farther if met else np.nan, "first_step": path.index[1]})
    return tables.frame(found, "seed", "layers", "method", "dip", "farther", "first_step")


def slopes(arm: Arm) -> pd.Series:
    """By method, cosine of its direction with today's forget gradient, on all layers, mean over seeds.

    Below 0 the forget loss starts by falling. Finer than any step, but silent on what comes after the start.
    """
    table = vectors(arm)
    table = table[(table["layers"] == "all") & table["vector"].str.match("epoch_|all_epochs|wrong_person")]
    return table.groupby(table["vector"].replace("epoch_1", "first_epoch"), sort=False)["with_now"].mean()


def re_exposure(arm: Arm) -> pd.DataFrame:
    """`exposure` over seeds, for people: a row a path, those of PATHS first."""
    cosines, found = slopes(arm), {}
    for (layers, method), rows in exposure(arm).groupby(["layers", "method"], sort=False):
        dips, far, n = rows["dip"], rows["farther"].dropna(), len(rows)
        start = cosines.get(method, np.nan) if layers == "all" else np.nan
        found[layers, method] = {
            "path": name(layers, method),
            "lowest change of forget NLL": tables.mean_and_range(dips, 3) if any(dips < 0) else "none",
            "seeds with a dip": f"{(dips < 0).sum()} of {n}",
            "by the margin": f"{(dips <= -margin(arm.run)).sum()} of {n}",
            "shortest step": f"{rows['first_step'].min():.2%}",
            "cosine at the start": tables.number(start, "+.2f"),
            "farther from the oracle": f"{len(far)} of {n}",
            "from a step of": tables.number(far.mean(), ".1%"),
        }
    order = [*(path for path in PATHS if path in found), *(path for path in found if path not in PATHS)]
    return pd.DataFrame([found[path] for path in order])


def epochs_alone(arm: Arm) -> pd.DataFrame:
    """Every epoch's gradients alone, in the seeds that walk them: a row an epoch, for people."""
    exposed, table, cosines = exposure(arm), path_table(arm, methods=None), slopes(arm)
    exposed = exposed[is_path(exposed, "all", "first_epoch") | exposed["method"].str.startswith("epoch_")]
    exposed = exposed[exposed["seed"].isin(exposed.loc[exposed["method"] == "epoch_2", "seed"])]
    step, found = exposed["first_step"].max(), []
    there = table[(table["share"] == step) & table["seed"].isin(exposed["seed"])]
    for method, rows in exposed.groupby("method"):
        dips = rows["dip"]
        row = {"epoch": int(method.removeprefix("epoch_").replace("first_epoch", "1")), "seeds": len(rows)}
        row[f"change at the {step:.1%} step"] = f"{there.loc[there['method'] == method, 'rise'].mean():+.3f}"
        row["lowest change"] = f"{dips.mean():+.3f}" if any(dips < 0) else "none"
        row["seeds with a dip"] = f"{(dips < 0).sum()} of {len(rows)}"
        found.append(row | {"cosine at the start": tables.number(cosines.get(method, np.nan), "+.3f")})
    found.sort(key=lambda row: row["epoch"])
    return pd.DataFrame(found, columns=None if found else ["epoch"])


def steps(arm: Arm, method: str = "first_epoch") -> pd.DataFrame:
    """One method's path at every step, for people: likelihood, memorisation and ROUGE of the forget facts."""
    found = []
    for share, rows in along(path_table(arm, methods=(method,)), method).groupby("share"):
        told = {title: tables.mean_and_range(rows[c]) for c, title in STEPS.items() if rows[c].notna().any()}
        found.append({"step": f"{share:.2%}"} | told)
    return tables.frame(found, "step", *STEPS.values()).dropna(axis=1, how="all").fillna("–")


def fresh_minus_stored(arm: Arm, value: str = "rise") -> pd.DataFrame:
    """Fresh minus stored first-epoch gradients after the same way, by application of the fresh ones.

    Columns of `contrasts.contrast`, with the application's number in `against`; Holm over the applications.
    """
    table, found = path_table(arm, methods=("first_epoch", "recomputed")), []
    for seed, here in table.groupby("seed"):
        stored, fresh = (along(here, m).set_index("norm")[value] for m in ("first_epoch", "recomputed"))
        found += [(seed, k, v, at(stored, n)) for k, (n, v) in enumerate(fresh.iloc[1:].items(), start=1)]
    wide = tables.frame(found, "seed", "k", "fresh", "stored").pivot_table(index="seed", columns="k")
    return family({k: (wide["fresh", k], wide["stored", k]) for k in wide.columns.levels[1]})


def family(pairs: Mapping[object, tuple[pd.Series, pd.Series]]) -> pd.DataFrame:
    """`contrasts.contrast` of pairs without a common reference: first minus second, Holm over all."""
    found = [contrast(first, {label: second}) for label, (first, second) in pairs.items()]
    return with_holm(pd.concat(found or [contrast(pd.Series(dtype=float), {})], ignore_index=True))


# -- figures ----------------------------------------------------------------------------------------------


def re_exposed(table: pd.DataFrame, stops: pd.DataFrame) -> plt.Figure:
    """Both readings of "re-exposed" along the step, each with its region shaded; rules' marks on the right.

    `table` is `paths_of`, `stops` is `ch05_stopping.stops`.
    """
    drawn, (near, far) = figure(4.4, 1, 2)
    table = table[(table["layers"] == "all") | (table["method"] == "finetuned")]
    start = table[table["method"] == "finetuned"].set_index("seed")["oracle_distance"]
    table = table.assign(change=table["oracle_distance"] - table["seed"].map(start))
    shown = [m for layers, m in PATHS if layers == "all" and m in set(table["method"])]
    for method in shown:
        method_line(near, along(table, method), "share", "rise", method)
        method_line(far, along(table, method), "share", "change", method)
    lowest = min(table.loc[table["method"].isin(shown), "rise"].min(), 0)
    near.set(ylim=(min(BELOW, 1.4 * lowest), max(ABOVE, -1.4 * lowest)), title="Likelier than at the start?")
    far.set(ylim=(-start.mean(), start.mean()), title="Farther from the oracle than then?")
    near.set_ylabel("change of the forget NLL (nats)")
    far.set_ylabel("change of the distance to the oracle (nats)")
    shares = sorted(set(table.loc[table["method"] == REFERENCE[1], "share"]))
    for ax, end, y in ((near, near.get_ylim()[0], 0.03), (far, far.get_ylim()[1], 0.93)):
        step_axis(ax, shares[::2])
        ax.set(xlim=(0, 1.1 * shares[-1]), xlabel=STEP_NARROW)
        ax.axhline(0, color=INK, lw=1)
        ax.axhspan(*sorted((0, end)), color=EXPOSED, lw=0, zorder=0)
        note(ax, "re-exposed, in this reading", (0.03, y), "axes fraction", (0, 0), color=INK)
    stops = stops[is_path(stops, *REFERENCE)]
    _rules(far, stops.assign(change=stops["oracle_distance"] - stops["seed"].map(start)))
    methods_above(drawn, shown)
    return drawn


def _rules(ax: plt.Axes, stops: pd.DataFrame) -> None:
    """On the reference path, a mark where each rule stops (means); hollow if some seed never does."""
    for mark, (rule, rows) in zip(MARKS, stops.groupby("rule", sort=False), strict=False):
        edge = {"mfc": INK, "mec": "white"} if rows["met"].all() else {"mfc": "white", "mec": INK}
        where = rows[["share", "change"]].mean()
        ax.plot(*where, mark, ms=15 if mark == "*" else 8, zorder=6, label=rule, ls="", **edge)
    if len(stops):
        told = {"frameon": False, "fontsize": 8, "title": "first epoch's path stopped by"}
        ax.legend(loc="lower left", title_fontsize=8, alignment="left", handletextpad=0.2, **told)


def methods_above(drawn: plt.Figure, shown: list[str], dashed: str = "") -> None:
    """The lines' names above the panels, where they cannot collide with lines; and what dashed ones are."""
    lines = [plt.Line2D([], [], color=COLOURS[m], marker="o", ms=4) for m in shown]
    lines += [plt.Line2D([], [], color=MUTED, ls="--", lw=1.4)] if dashed else []
    told = {"frameon": False, "fontsize": 8.5, "columnspacing": 1.2, "handlelength": 1.4}
    names = [*(LABELS[m] for m in shown), dashed][: len(lines)]
    drawn.legend(lines, names, loc="outside upper center", ncols=5, **told)


def fresh_and_stored(table: pd.DataFrame) -> plt.Figure:
    """Fresh against stored gradients: change of the forget NLL by distance, and by retain damage."""
    drawn, (left, right) = figure(3.9, 1, 2, sharey=True)
    shown = [m for m in ("recomputed", *CORE) if m in set(table["method"])]
    one = table[is_path(table, *REFERENCE)]
    table = table.assign(distance=table["norm"] / (one["norm"] / one["share"]).mean())
    for method in shown:
        for ax, x in ((left, "distance"), (right, "damage")):
            method_line(ax, along(table, method), x, "rise", method)
    fresh = along(table, "recomputed" if "recomputed" in shown else REFERENCE[1])
    top = 1.6 * fresh.groupby("share")["rise"].mean().max()
    left.set(xlim=(0, 2.2 * fresh["distance"].max()), ylim=(min(0, table["rise"].min()), top))
    left.set(xlabel="distance from the start, share of the\nfine-tuning displacement")
    left.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.2g}%")
    left.set_ylabel("change of the forget NLL (nats)")
    right.set(xlim=(min(0, fresh["damage"].min()), 2.5 * fresh["damage"].max()))
    right.set_xlabel("retain damage (nats)\n")
    methods_above(drawn, shown)
    return drawn
