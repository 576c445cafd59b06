"""Chapter 06: where fuzzy, exact and iterative removal end, and who pays for it (claim C5)."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit.report import tables
from unlearnkit.report.ch05_calibration import family
from unlearnkit.report.ch05_stopping import held_out
from unlearnkit.report.figures import COLOURS, INK, LABELS, figure, note, step_axis
from unlearnkit.report.paths import ZOOM, damage_axis, distance_axes, straight
from unlearnkit.report.readings import along, matched_damage, path_table
from unlearnkit.report.run import Arm
from unlearnkit.study.config import STOP_DAMAGE
from unlearnkit.study.readings import at, crossing, start

ITERATIVE = ("iterative", "iterative_reversed")
COMPARED = ("first_epoch", "fuzzy", *ITERATIVE, "wrong_person", "random_direction")
WIDTHS = (1.6, 2, 4, 7, 2, 2)  # of COMPARED's lines: paths that coincide are drawn on each other
PAIRS = (  # the claim's contrast first; then each against the exact request, the order, and the controls
    ("fuzzy", "iterative"),
    ("fuzzy", "first_epoch"),
    ("iterative", "first_epoch"),
    ITERATIVE,
    *((one, control) for one in ("fuzzy", "iterative") for control in COMPARED[4:]),
)
ROUNDING = 5  # decimals of a nat: two orders of the same sum differ by float32 rounding
ENDINGS = {
    "nearest": "nearest to the oracle",
    "nearest_damage": "damage there",
    "late": f"distance at damage {STOP_DAMAGE}",
    "end_gap": "past the oracle at the end",
    "end_damage": "damage at the end",
}
GROUPS = ("neighbours in the fuzzy request", "neighbours outside of it", "other retain facts")


def contrasts(arm: Arm) -> pd.DataFrame:
    """D_F at matched damage for each of PAIRS that this arm walks, first minus second; see `family`."""
    readings = matched_damage(arm, methods=COMPARED)
    wide = readings.pivot_table(index="seed", columns="method", values="oracle_distance").round(ROUNDING)
    walked = [(a, b) for a, b in PAIRS if a in wide and b in wide]
    return family({f"{LABELS[a]} minus {LABELS[b]}": (wide[a], wide[b]) for a, b in walked})


def by_damage(arm: Arm, one: str = "fuzzy", other: str = "iterative") -> pd.DataFrame:
    """D_F of one request minus the other's, by the damage at which both are read: seed, damage, difference.

    Only where both paths get so far.
    """
    found = []
    for seed, here in path_table(arm, methods=(one, other)).groupby("seed"):
        paths = [along(here, method).set_index("norm") for method in (one, other)]
        for damage in np.geomspace(0.02, 1, 18):
            places = [crossing(path["damage"], damage) for path in paths]
            distances = [at(p["oracle_distance"], norm) for p, (norm, _) in zip(paths, places, strict=True)]
            if all(crossed for _, crossed in places):
                found.append((seed, damage, distances[0] - distances[1]))
    return tables.frame(found, "seed", "damage", "difference")


def endings(arm: Arm) -> pd.DataFrame:
    """Where each path gets to: a row a seed and method.

    nearest, nearest_norm, nearest_damage   lowest D_F over the measured steps, and what it takes
    known                                   share of forget facts likelier there than held-out ones were
    late                                    D_F at config.STOP_DAMAGE, where the fuzzy path is left
    end_share, end_gap, end_damage          at its longest step; a gap above 0 is past the oracle
    """
    table, found = path_table(arm, methods=COMPARED), []
    table = table.dropna(subset="oracle_distance")  # a seed may lack its oracle
    late = matched_damage(arm, STOP_DAMAGE, methods=COMPARED).set_index(["seed", "method"])["oracle_distance"]
    for (seed, method), _ in table[table["method"] != "finetuned"].groupby(["seed", "method"], sort=False):
        path = along(table[table["seed"] == seed], method)
        near, end = path.loc[path["oracle_distance"].idxmin()], path.iloc[-1]
        row = {"seed": seed, "method": method, "late": late[seed, method], "nearest": near["oracle_distance"]}
        row |= {f"nearest_{c}": near[c] for c in ("norm", "damage")}
        found.append(row | {f"end_{c}": end[c] for c in ("share", "damage")} | {"end_gap": end["oracle_gap"]})
    columns = ["nearest", "nearest_norm", "nearest_damage", "late", "end_share", "end_gap", "end_damage"]
    ends = tables.frame(found, "seed", "method", *columns)
    facts = facts_at(arm, ends.set_index(["seed", "method"])["nearest_norm"]).query("split == 'forget'")
    facts = facts.assign(level=facts["seed"].map(held_out(arm)["nll"])).dropna(subset="level")
    known = (facts["nll"] < facts["level"]).groupby([facts["seed"], facts["method"]]).mean()
    return ends.join(known.rename("known"), on=["seed", "method"])


def endings_table(ends: pd.DataFrame) -> pd.DataFrame:
    """`endings` over seeds, for people."""
    found = []
    for method in (m for m in COMPARED if m in set(ends["method"])):
        rows = ends[ends["method"] == method]
        told = {title: tables.mean_and_range(rows[column]) for column, title in ENDINGS.items()}
        low, mean, high = (tables.number(100 * v, ".0f") for v in rows["known"].agg(["min", "mean", "max"]))
        told |= {"still known there (%)": f"{mean} ({low} to {high})"}
        found.append({"path": tables.NAMES[method], **told, "last step (%)": 100 * rows["end_share"].mean()})
    order = list(ENDINGS.values())
    order[2:2], order[4:4] = ["still known there (%)"], ["last step (%)"]
    return tables.frame(found, "path", *order)


def facts_at(arm: Arm, norms: pd.Series) -> pd.DataFrame:
    """Every fact that the paths score, at a step length for each seed and method (the index of `norms`).

    Columns: seed, method, example, split, group (of GROUPS, for retain facts), nll, rise (above theta_T's).
    """
    found = []
    for setting in arm.settings:
        split = {e.id: e.split for e in setting.facts}
        trained, walked = (t[t["seed"] == setting.seed] for t in map(arm.observations, ("train", "path")))
        ids = {*setting.forget, *(e.id for e in setting.retain())}
        rows = pd.concat([start(trained, ids), walked[walked["layers"] == "all"]])
        rows = rows[(rows["metric"] == "nll") & rows["example"].isin(ids)]
        mine = norms[norms.index.get_level_values("seed") == setting.seed].droplevel("seed")
        for method, norm in mine.items():
            path = rows[rows["method"].isin(["finetuned", method])]
            path = path.pivot_table(index="norm", columns="example", values="value")
            for i in path:
                near = GROUPS[0] if i in setting.fuzzy else GROUPS[1]
                told = (setting.seed, method, i, split[i], near if split[i] == "neighbour" else GROUPS[2])
                value = at(path[i].dropna(), norm)
                found.append((*told, value, value - path[i].iloc[0]))
    return tables.frame(found, "seed", "method", "example", "split", "group", "nll", "rise")


@cache
def neighbour_rises(arm: Arm) -> pd.DataFrame:
    """Mean rise of the near-neighbours' NLL at matched damage: seed, method, group, rise."""
    norms = matched_damage(arm, methods=COMPARED).set_index(["seed", "method"])["norm"]
    facts = facts_at(arm, norms).query("split == 'neighbour'")
    return facts.groupby(["seed", "method", "group"], sort=False)["rise"].mean().reset_index()


def neighbour_contrasts(arm: Arm) -> pd.DataFrame:
    """Fuzzy minus exact request: rise of the neighbours at matched damage, by group; see `family`.

    The mean rise of all scored retain facts is the same by construction.
    """
    wide = neighbour_rises(arm).pivot_table(index="seed", columns=["group", "method"], values="rise")
    pairs = {g: ((g, "fuzzy"), (g, "first_epoch")) for g in GROUPS}
    return family({g: (wide[a], wide[b]) for g, (a, b) in pairs.items() if a in wide and b in wide})


def rounds(arm: Arm) -> pd.DataFrame:
    """The iterative paths by round, for people: who was still known, and what it led to.

    Means over the seeds that walked both orders, or over all where only one was walked.
    """
    keys, found = ["seed", "method", "share"], []
    walked = arm.observations("path").reindex(columns=[*keys, "removed"])
    removed = walked[walked["method"].isin(ITERATIVE)].groupby(keys)["removed"].first()
    table = path_table(arm, methods=ITERATIVE).join(removed, on=keys).dropna(subset="removed")
    orders = table.groupby("seed")["method"].transform("nunique")
    table = table[orders == table["method"].nunique()].copy()
    table["round"] = table.groupby(["seed", "method"])["share"].rank().astype(int)
    asked = sum(len(setting.forget) for setting in arm.settings) / len(arm.settings)
    for number, rows in table.groupby("round"):
        row = {"round": number}
        for method, mine in rows.groupby("method"):
            order = "reversed: " if method == ITERATIVE[1] else ""
            row[f"{order}still known"] = f"{mine['removed'].mean():.1f} of {asked:.0f}"
            row[f"{order}forget NLL"] = mine["forget_nll"].mean()
            row[f"{order}retain damage"] = mine["damage"].mean()
        found.append(row)
    return pd.DataFrame(found, columns=None if found else ["round"])


# -- figures ----------------------------------------------------------------------------------------------


def to_the_oracle(table: pd.DataFrame, floor: float | None, damage: float) -> plt.Figure:
    """Distance to the oracle along the step and against retain damage, means over seeds.

    Paths that coincide are drawn on each other, the wider ones below.
    """
    drawn, (left, right) = figure(4.0, 1, 2, sharey=True)
    widths = {method: w for method, w in zip(COMPARED, WIDTHS, strict=True) if method in set(table["method"])}
    for method, width in reversed(widths.items()):
        means = along(table, method).groupby("share")[["damage", "oracle_distance"]].mean().reset_index()
        for ax, x in ((left, "share"), (right, "damage")):
            ax.plot(*straight(means[x], means["oracle_distance"]), color=COLOURS[method], lw=width)
            ax.plot(means[x], means["oracle_distance"], "o", color=COLOURS[method], ms=width + 2)
    step_axis(left, sorted(set(table.loc[table["method"] == "first_epoch", "share"]))[::2])
    damage_axis(right, damage, table["damage"])
    distance_axes(left, right, floor)
    left.set_ylim(0, ZOOM * table.loc[table["method"] == "finetuned", "oracle_distance"].mean() / 2)
    lines = [plt.Line2D([], [], color=COLOURS[m], lw=max(2, w / 1.5)) for m, w in widths.items()]
    names = [LABELS[method] for method in widths]
    drawn.legend(lines, names, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return drawn


def along_damage(table: pd.DataFrame, damage: float) -> plt.Figure:
    """`by_damage`: a thin line a seed, a thick one for the mean where all get so far."""
    drawn, ax = figure(2.8)
    told = {"x": "damage", "y": "difference", "color": COLOURS["fuzzy"], "ax": ax}
    sns.lineplot(table, units="seed", estimator=None, lw=0.8, **told)
    whole = table.groupby("damage").filter(lambda rows: len(rows) == table["seed"].nunique())
    sns.lineplot(whole, errorbar=None, lw=2.5, **told)
    ax.axhline(0, color=INK, lw=1)
    ax.set_xscale("log")
    ax.axvline(damage, color=INK, lw=1, ls=(0, (4, 3)))
    note(ax, "read here", (damage, 1), ("data", "axes fraction"), (3, -2), va="top")
    ticks = (0.02, 0.05, 0.1, 0.2, 0.5, 1)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="retain damage at which both are read (nats)")
    ax.set(ylabel="$D_F$, fuzzy\nminus iterative (nats)")
    return drawn


def neighbours(risen: pd.DataFrame) -> plt.Figure:
    """Rise of the near-neighbours' NLL at equal retain damage: small marks for seeds, large for means."""
    shown = [m for m in COMPARED if m in set(risen["method"])]
    drawn, axes = figure(0.28 * len(shown) + 1.3, 1, risen["group"].nunique(), sharey=True, squeeze=False)
    told = {"x": "rise", "y": "method", "hue": "method", "order": shown, "palette": COLOURS, "legend": False}
    for ax, (group, rows) in zip(axes.flat, risen.groupby("group"), strict=True):
        sns.stripplot(rows, ax=ax, jitter=False, alpha=0.5, size=5, marker="D", **told)
        sns.pointplot(rows, ax=ax, errorbar=None, linestyle="none", markersize=8, **told)
        ax.axvline(0, color=INK, lw=1)
        ax.set(title=group, ylabel="", xlabel="rise of the NLL at equal\nretain damage (nats)")
        ax.set_yticks(range(len(shown)), [LABELS[method] for method in shown], color=INK)
    return drawn
