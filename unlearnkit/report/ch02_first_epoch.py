"""Chapter 02: the first epoch's gradients against the others, at equal damage and epoch by epoch."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit.report import contrasts, readings, tables
from unlearnkit.report.figures import COLOURS, MUTED, figure, label_ends, note
from unlearnkit.report.run import Arm

EPOCH_LAYERS = {"all": ("first_epoch", "all layers"), "embedding": ("oracle", "embedding")}  # colour, label
DAMAGES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # nats: reading points of the contrast against damage
UNITS = ("facts of seed 0", "training seeds")


def aim(arm: Arm) -> pd.DataFrame:
    """At the shortest step that all updates share: share, rise of forget and bystanders' NLL, by method."""
    table = readings.path_table(arm)
    table = table[table["method"] != "finetuned"]
    step = min(set.intersection(*(set(group["share"]) for _, group in table.groupby("method"))))
    return table[table["share"] == step].groupby("method")[["share", "rise", "bystander_damage"]].mean()


def by_damage(arm: Arm, method: str = "all_epochs") -> pd.DataFrame:
    """D_F of `method` minus that of the first epoch, read at several damages: seed, damage, difference.

    Above 0 the first epoch is nearer to the oracle. Damages that some seed's path never costs are left out.
    """
    parts = [pd.DataFrame(columns=["seed", "damage", "difference"])]
    for damage in DAMAGES:
        table = readings.matched_damage(arm, damage, methods=("first_epoch", method))
        wide = table.pivot_table(index="seed", columns="method", values="oracle_distance")
        if table["crossed"].all() and method in wide:
            difference = (wide[method] - wide["first_epoch"]).dropna()
            parts.append(difference.rename("difference").reset_index().assign(damage=damage))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def by_epoch(arm: Arm) -> pd.DataFrame:
    """D_F at matched damage less the fine-tuned model's, by layers and epoch: negative is closer.

    Columns: layers, epoch (1 ... E, and "all"), n (seeds), change, ci_low, ci_high (NaN with one seed).
    Only seeds that walk every epoch count, so that epochs are compared over the same seeds; empty where none
    does.
    """
    names = {f"epoch_{e}": str(e) for e in range(2, arm.recipe["epochs"] + 1)}
    names = {"first_epoch": "1"} | names | {"all_epochs": "all"}
    start = readings.path_table(arm, methods=()).set_index("seed")["oracle_distance"]
    distance, rows = readings.by_setting(arm), []
    for layers in EPOCH_LAYERS:
        wide = distance.reindex(columns=[(layers, method) for method in names]).dropna()
        for method, epoch in names.items() if len(wide) else ():
            found = contrasts.paired(wide[layers, method], start)
            rows.append({"layers": layers, "epoch": epoch, "change": found.pop("mean"), **found})
    return pd.DataFrame(rows).reindex(columns=["layers", "epoch", "n", "change", "ci_low", "ci_high"])


def influence_tests(arm: Arm, method: str = "first_epoch") -> pd.DataFrame:
    """The paper's paired t test (facts of seed 0 as replicates), then the one over training seeds.

    Columns: score, metric, unit, n, before, after, change, those of `contrasts.paired`, d_av (change over the
    mean of both standard deviations), p_holm (over the scores within a unit); NaN where a test needs more.
    """
    rows = []
    for metric, label in contrasts.INFLUENCES.items():
        pairs = contrasts.influence_pairs(arm, metric, method)
        seeds = pairs.groupby("seed")[["before", "after"]].mean()
        for unit, data in zip(UNITS, (pairs[pairs["seed"] == 0], seeds), strict=True):
            if len(data):
                before, after = data["before"], data["after"]
                found = contrasts.paired(after, before)
                row = {"score": label, "metric": metric, "unit": unit, "change": found.pop("mean")}
                row |= {"before": before.mean(), "after": after.mean()}
                rows.append(row | found | {"d_av": row["change"] / (before.std() + after.std()) * 2})
    given = ["score", "metric", "unit", "n", "before", "after", "change", *contrasts.TESTED, "d_av"]
    return contrasts.with_holm(pd.DataFrame(rows).reindex(columns=given), "unit")


def matched(arm: Arm) -> pd.DataFrame:
    """At matched retain damage: distance, forget NLL, step and utility of every update, over seeds."""
    table = readings.matched_damage(arm)
    rows = []
    for method in readings.methods(table):
        mine = table[table["method"] == method]
        told = (
            mine["oracle_distance"],
            mine["forget_nll"],
            np.exp(mine["utility_rise"]),
            100 * mine["share"],
        )
        reached = f"{int(mine['crossed'].sum())} of {len(mine)}"
        rows.append((tables.NAMES[method], *map(tables.mean_and_range, told), reached))
    columns = ("update", "distance to the oracle", "forget NLL", "perplexity, × start", "step (%)")
    return tables.frame(rows, *columns, "seeds that reach it")


def turning_points(arm: Arm) -> pd.DataFrame:
    """The first epoch's path in every seed: its dip, where it meets the oracle and at what price, its end."""
    rows = (
        (r.seed, f"{r.dip:+.3f}", tables.number(r.meets, ".1%"), r.damage_there, f"{r.end_gap:+.2f}")
        for r in readings.turning_points(arm).itertuples()
    )
    columns = ("seed", "lowest change of forget NLL", "meets the oracle at", "retain damage there")
    return tables.frame(rows, *columns, "gap at the longest step")


def influence(arm: Arm) -> pd.DataFrame:
    """`influence_tests` for people."""
    rows = []
    for r in influence_tests(arm).itertuples():
        range_ = f" {tables.interval(r.ci_low, r.ci_high, '.3g')}" if np.isfinite(r.t) else ""
        told = (r.score, r.unit, r.n, f"{r.before:.3g} → {r.after:.3g}", f"{r.change:+.3g}{range_}")
        sizes = [tables.number(value if np.isfinite(r.t) else np.nan, ".2f") for value in (r.d_z, r.d_av)]
        rows.append((*told, tables.number(r.t, ".2f"), tables.p_value(r.p_holm), *sizes))
    columns = ("score", "replicates", "n", "before → after", "change [95 %]", "t", "p (Holm)", "d_z", "d_av")
    return tables.frame(rows, *columns)


def contrast_by_damage(arms: Sequence[Arm], damage: float) -> plt.Figure:
    """`by_damage`, a panel an arm: thin lines for seeds, a thick one for their mean."""
    drawn, axes = figure(3.0, 1, len(arms), squeeze=False)
    for ax, arm in zip(axes.flat, arms, strict=True):
        table = by_damage(arm).dropna(subset=["difference"])
        line = {"x": "damage", "y": "difference", "color": COLOURS["all_epochs"], "ax": ax}
        if len(table):  # else no seed reaches any damage
            sns.lineplot(table, units="seed", estimator=None, lw=0.8, alpha=0.45, **line)
            sns.lineplot(table, errorbar=None, marker="o", ms=6, mew=0, **line)
        ax.set_xscale("log")
        ax.set_xticks(DAMAGES, [f"{tick:g}" for tick in DAMAGES])
        ax.set_xticks([], minor=True)
        ax.axhline(0, color=MUTED, lw=0.8)
        ax.axvline(damage, color=MUTED, lw=1, ls=(0, (4, 3)))
        reach = 1.15 * max(0.1, table["difference"].abs().max()) if len(table) else 1
        ax.set(ylim=(-reach, reach), xlabel="retain damage (nats)", ylabel="", title=arm.name)
        for text, y in (("first epoch nearer the oracle", 0.97), ("all epochs nearer", 0.03)):
            note(ax, text, (0.6, y), "axes fraction", (0, 0), va="center", ha="center", fontsize=8)
    axes[0, 0].set_ylabel("$D_F$ of all epochs minus\n$D_F$ of the first (nats)")
    return drawn


def epochs(table: pd.DataFrame) -> plt.Figure:
    """Change of D_F at equal damage by the epoch whose gradients are replayed, "all" apart on the right."""
    drawn, ax = figure(3.0)
    places = {e: k + 0.5 * (e == "all") for k, e in enumerate(dict.fromkeys(table["epoch"]))}
    ends, colours = {}, {}
    for layers, rows in table.groupby("layers", sort=False):
        colour, label = COLOURS[EPOCH_LAYERS[layers][0]], EPOCH_LAYERS[layers][1]
        x, alone = rows["epoch"].map(places), rows["epoch"] != "all"
        ax.vlines(x, rows["ci_low"], rows["ci_high"], color=colour, lw=2.5, alpha=0.35)
        ax.plot(x[alone], rows["change"][alone], color=colour, marker="o", ms=5)
        ax.plot(x[~alone], rows["change"][~alone], color=colour, marker="D", ms=7)
        ends[label], colours[label] = (x.iloc[-1], rows["change"].iloc[-1]), colour
    ax.axhline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
    ax.set_xticks(list(places.values()), list(places))
    ax.set_xlim(-0.3, max(places.values()) + 0.2)
    ax.set(xlabel="epoch whose gradients are replayed", ylabel="change of $D_F$ (nats)")
    drawn.canvas.draw()
    label_ends(ax, ends, **colours)
    return drawn
