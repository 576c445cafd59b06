"""Chapter 03: a person's influence before and after unlearning, and in a model that never met the person."""

from collections.abc import Sequence
from functools import cache
from itertools import product
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from unlearnkit.report.ch02_first_epoch import influence_tests
from unlearnkit.report.ch04_alignment import NOW, vectors
from unlearnkit.report.contrasts import (
    INFLUENCES,
    TESTED,
    influence_pairs,
    paired,
    with_holm,
)
from unlearnkit.report.figures import COLOURS, FAINT, INK, figure
from unlearnkit.report.run import Arm
from unlearnkit.report.tables import frame, interval, number, p_value

SPLITS = {"forget": "target", "retain": "control person"}  # whose influence the close-ups measure
PLACES = ("before", "after", "oracle")
AFTER = {"first_epoch": "first epoch", "all_epochs": "all epochs", "oracle": "oracle"}
STORED_NOW = INFLUENCES["influence_gradient"]
IN_ORACLE = (STORED_NOW, INFLUENCES["influence_activation"])  # curvature was not taken there
WHOSE = {"target": COLOURS["target"], "control person": COLOURS["wrong_person"]}


# -- readings ---------------------------------------------------------------------------------------------


def by_update(arm: Arm) -> pd.DataFrame:
    """`influence_tests` of each model that the scores were taken in: its columns, and method (of AFTER)."""
    return pd.concat([influence_tests(arm, m).assign(method=m) for m in AFTER], ignore_index=True)


@cache
def levels(arm: Arm) -> pd.DataFrame:
    """Mean influence of the target's and of the control person's facts, a row a score, person and seed.

    Columns: score, whose (a value of SPLITS), seed, before, after, oracle; NaN where not measured (no
    curvature in the oracle), no row where before and after are not.
    """
    found = []
    for (metric, score), (split, whose) in product(INFLUENCES.items(), SPLITS.items()):
        means = influence_pairs(arm, metric, split=split).groupby("seed")[["before", "after"]].mean()
        oracle = influence_pairs(arm, metric, "oracle", split).groupby("seed")["after"].mean()
        means = means.assign(oracle=oracle.reindex(means.index)).reset_index()
        found.append(means.assign(score=score, whose=whose))
    return pd.concat(found, ignore_index=True).reindex(columns=["score", "whose", "seed", *PLACES])


def of_target(arms: Sequence[Arm], score: str = STORED_NOW) -> pd.DataFrame:
    """The target's rows of `levels` in every arm for one score, with a column arm."""
    table = pd.concat([levels(arm).assign(arm=arm.name) for arm in arms], ignore_index=True)
    return table[(table["score"] == score) & (table["whose"] == SPLITS["forget"])]


def specificity(arm: Arm) -> pd.DataFrame:
    """Change of the target's mean score minus that of the control person's, paired over training seeds.

    Columns: score, target and control (mean changes), n, difference, those of TESTED, p_holm (over scores).
    """
    table, found = levels(arm), []
    table = table.assign(change=table["after"] - table["before"])
    change = table.pivot_table(index=["score", "seed"], columns="whose", values="change")
    change = change.reindex(columns=list(SPLITS.values())).dropna()
    for score in (s for s in INFLUENCES.values() if s in change.index):
        mine, other = (change.loc[score, whose] for whose in SPLITS.values())
        found.append({"score": score, "target": mine.mean(), "control": other.mean(), **paired(mine, other)})
    columns = ["score", "target", "control", "n", "mean", *TESTED]
    return with_holm(pd.DataFrame(found, columns=columns)).rename(columns={"mean": "difference"})


def gradient_norms(arm: Arm) -> pd.DataFrame:
    """How long the forget set's summed gradient is, by epoch of its recording, and now (at theta_T).

    Columns: seed, vector ("epoch_1" ... "now"), norm, share (of epoch 1's). The two roles of a tied token
    matrix count as parameters of their own.
    """
    table = vectors(arm).query("layers == 'all'")
    table = table[table["vector"].str.startswith("epoch_") | (table["vector"] == NOW)]
    first = table[table["vector"] == "epoch_1"].set_index("seed")["norm"]
    return table[["seed", "vector", "norm"]].assign(share=table["norm"] / table["seed"].map(first))


# -- tables -----------------------------------------------------------------------------------------------


def level_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """Means over seeds of every score in the three models."""
    rows = [
        {
            "arm": arm.name,
            "score": score,
            "facts of": whose,
            **{place: number(here[place].mean()) for place in PLACES},
            "falls in": f"{int((here['after'] < here['before']).sum())} of {len(here)}",
        }
        for arm in arms
        for (score, whose), here in levels(arm).groupby(["score", "whose"], sort=False)
    ]
    return frame(rows, "arm", "score", "facts of", *PLACES, "falls in")


def update_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """d_z and p of every score that allows a test, an update a column."""
    rows = []
    for arm in arms:
        for (score, unit), here in by_update(arm).groupby(["score", "unit"], sort=False):
            sizes = here.set_index("method")[["d_z", "p_holm"]].dropna()
            if len(sizes):
                told = {m: f"{r.d_z:+.2f} (p {p_value(r.p_holm)})" for m, r in sizes.iterrows()}
                told = {label: told.get(method, "–") for method, label in AFTER.items()}
                row = {"arm": arm.name, "score": score, "replicates": unit, "n": int(here["n"].max())}
                rows.append(row | told)
    return frame(rows, "arm", "score", "replicates", "n", *AFTER.values())


def specificity_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """The target's change beside the control person's."""
    rows = [
        {
            "arm": arm.name,
            "score": r.score,
            "seeds": r.n,
            "change, target": f"{r.target:+.3g}",
            "change, control": f"{r.control:+.3g}",
            "difference": f"{r.difference:+.3g}",
            "95 % interval": interval(r.ci_low, r.ci_high, ".3g"),
            "p (Holm)": p_value(r.p_holm),
        }
        for arm in arms
        for r in specificity(arm).itertuples()
    ]
    return frame(rows, *(rows[0] if rows else ("arm", "score")))


# -- figures ----------------------------------------------------------------------------------------------


def slopes(arms: Sequence[Arm]) -> plt.Figure:
    """Scores before and after unlearning and in the oracle: a row a score, a column an arm."""
    drawn, axes = figure(4.8, len(IN_ORACLE), len(arms), squeeze=False, sharex=True)
    for ax, (score, arm) in zip(axes.flat, product(IN_ORACLE, arms), strict=True):
        here = levels(arm).set_axis(["score", "whose", "seed", 0, 1, 2], axis=1)
        here = here[here["score"] == score]
        lines = here.melt(["whose", "seed"], [0, 1, 2], "model").astype({"model": float})
        how = {"x": "model", "y": "value", "hue": "whose", "palette": WHOSE, "ax": ax, "legend": False}
        # Dotted on to the oracle, which is another model and no third step.
        for part, style in ((lines["model"] < 2, "-"), (lines["model"] > 0, ":")) if len(here) else ():
            sns.lineplot(lines[part], units="seed", estimator=None, lw=0.7, alpha=0.4, ls=style, **how)
            sns.lineplot(lines[part], errorbar=None, lw=2.2, ls=style, **how)
        for whose, means in here.groupby("whose")[[0, 1, 2]].mean().iterrows():
            ax.plot([0, 1], means[:2], "o", color=WHOSE[whose], ms=5)
            ax.plot(2, means[2], "*", color=WHOSE[whose], ms=10)
        ax.axhline(0, color=FAINT, lw=1, zorder=0)
        ax.set(xlabel="", ylabel=fill(score, 18) if arm is arms[0] else "", xlim=(-0.3, 2.3))
        ax.set_xticks(range(3), PLACES, fontsize=8.5)
        if score == IN_ORACLE[0]:
            ax.set_title(fill(arm.name, 18), fontweight="normal", fontsize=9)
    marks = [plt.Line2D([], [], color=colour, marker="o", ms=5) for colour in WHOSE.values()]
    names = [f"facts of the {whose}" for whose in WHOSE]
    drawn.legend(marks, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return drawn


def shrinking(arms: Sequence[Arm]) -> plt.Figure:
    """Length of the forget set's summed gradient by epoch, and now, as a share of the first epoch's."""
    drawn, axes = figure(2.9, 1, len(arms), sharey=True, squeeze=False)
    for ax, arm in zip(axes.flat, arms, strict=True):
        table, last = gradient_norms(arm), arm.recipe["epochs"]
        epochs = table[table["vector"] != NOW]
        epochs = epochs.assign(epoch=epochs["vector"].str.removeprefix("epoch_").astype(int))
        line = {"color": WHOSE["target"], "marker": "o", "mew": 0, "ms": 5}
        sns.lineplot(epochs, x="epoch", y="share", errorbar=("pi", 100), ax=ax, **line)
        now = table.loc[table["vector"] == NOW, "share"]
        ax.plot([last + 1] * len(now), now, "D", color=INK, ms=5, mew=0, alpha=0.5)
        ticks = list(range(1, last, max(1, last // 4)))  # the last epoch's would touch "now"
        ax.set_xticks([*ticks, last + 1], [*map(str, ticks), NOW])
        ax.set(ylim=(0, None), xlabel="epoch", ylabel="gradient, share of epoch 1's")
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        ax.set_title(fill(arm.name, 18), fontweight="normal", fontsize=9)
    return drawn
