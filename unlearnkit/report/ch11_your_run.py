"""Chapter 11: a run of your own beside the published one: reading by reading, and cell by cell."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from scipy.stats import t

from unlearnkit.claims import ALPHA
from unlearnkit.report.ch01_data import learned
from unlearnkit.report.contrasts import claim_values, verdicts
from unlearnkit.report.figures import MUTED, figure
from unlearnkit.report.readings import CORE, by_setting
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import NAMES, frame, number
from unlearnkit.study.collect import KEY_DIGITS

TICKS = (-10, -5, -2, -1, 0, 1, 2, 5, 10)  # of the figure, linear between -1 and 1


def readings_of(arm: Arm) -> dict[tuple[str, str], pd.Series]:
    """By (kind, name), a number a seed: claims' contrasts, D_F of the core updates, memorisation."""
    distance, trained = by_setting(arm), learned(arm.observations("train"))
    found = {("claim's contrast", claim): values for claim, values in claim_values(arm).items()}
    walked = [m for m in CORE if ("all", m) in distance]
    found |= {("distance to the oracle", NAMES[m]): distance["all", m].dropna() for m in walked}
    found |= {("exact memorisation", "all facts"): trained["exact_memorisation"].dropna()}
    return found


def compared(yours: Run, published: Run) -> pd.DataFrame:
    """Means over seeds of every reading that both runs have, a row an arm and reading.

    Columns: arm, kind, reading, n and published, n_yours and yours, expected (how far two means of as many
    independent seeds lie apart in 19 of 20 pairs of runs, from the published seeds' spread; NaN for one
    seed), verdict, your_verdict ("" but for claims).
    """
    theirs, rows = {arm.name: arm for arm in published.arms}, []
    before, now = ({(r["arm"], r["id"]): r["verdict"] for r in verdicts(run)} for run in (published, yours))
    for arm in (a for a in yours.arms if a.name in theirs):
        known, found = readings_of(theirs[arm.name]), readings_of(arm)
        for kind, reading in (k for k in found if k in known and len(found[k]) and len(known[k])):
            mine, other = found[kind, reading], known[kind, reading]
            n, m = len(other), len(mine)
            expected = t.ppf(1 - ALPHA / 2, n - 1) * other.std() * np.sqrt(1 / n + 1 / m) if n > 1 else np.nan
            told = [judged.get((arm.name, reading), "") for judged in (before, now)]
            rows.append((arm.name, kind, reading, n, other.mean(), m, mine.mean(), expected, *told))
    columns = ("n", "published", "n_yours", "yours", "expected", "verdict", "your_verdict")
    return frame(rows, "arm", "kind", "reading", *columns)


def agrees(table: pd.DataFrame) -> pd.Series:
    """Whether each row of `compared` lies as near as seeds let expect; false where that is not known."""
    return (table["yours"] - table["published"]).abs() <= table["expected"] + 1e-9


def compared_table(table: pd.DataFrame) -> pd.DataFrame:
    """`compared` for people."""
    rows = []
    for r, near in zip(table.itertuples(), agrees(table), strict=True):
        both = (f"{number(r.published, '.3f')} ({r.n})", f"{number(r.yours, '.3f')} ({r.n_yours})")
        apart = (f"{r.yours - r.published:+.3f}", f"± {number(r.expected, '.3f')}", "yes" if near else "no")
        told = f"{r.verdict} → {r.your_verdict}" if r.verdict else "–"
        rows.append((r.arm, f"{r.kind}: {r.reading}", *both, *apart, told))
    titles = ("published (seeds)", "yours (seeds)", "difference", "expected", "as expected", "verdict")
    return frame(rows, "arm", "reading", *titles)


def shared_cells(yours: Run, published: Run) -> pd.DataFrame:
    """Cells of the same key in both runs, a row a stage of yours.

    Columns: stage, cells (yours), shared, same processor, equal (in every number but the time taken), apart
    (largest difference of an NLL, nats).
    """
    mine, theirs = ({c["key"]: c for c in run.manifest["cells"]} for run in (yours, published))
    rows = []
    for stage in dict.fromkeys(cell["stage"] for cell in mine.values()):
        cells = [key for key in mine if mine[key]["stage"] == stage]
        both = [key for key in cells if key in theirs]
        same = sum(mine[k]["made"].get("processor") == theirs[k]["made"].get("processor") for k in both)
        other = _rows(published, stage, both).add_suffix("_other")
        pairs = _rows(yours, stage, both).join(other, how="outer")
        apart = (pairs["value"] - pairs["value_other"]).abs()
        alike = (apart == 0) | pairs[["value", "value_other"]].isna().all(axis=1)
        equal = len(both) - pairs.index.get_level_values("cell")[~alike].nunique()
        rows.append((stage, len(cells), len(both), same, equal, apart[pairs["metric"] == "nll"].max()))
    return frame(rows, "stage", "cells", "shared", "same processor", "equal", "apart")


def _rows(run: Run, stage: str, keys: list[str]) -> pd.DataFrame:
    """Metric and value of the keys' cells, by cell and place in it."""
    rows = run.table(stage).reindex(columns=["cell", "metric", "value"])
    rows = rows[rows["cell"].isin([k[:KEY_DIGITS] for k in keys]) & (rows["metric"] != "training_seconds")]
    return rows.assign(place=rows.groupby("cell").cumcount()).set_index(["cell", "place"])


def side_by_side(table: pd.DataFrame) -> plt.Figure:
    """`compared`: published against yours, a point a reading; a bar is what other seeds may do."""
    drawn, ax = figure(4.4)
    reach = 1.3 * max([1.0, *table["published"].abs(), *table["yours"].abs()])
    ax.set_xscale("symlog", linthresh=1)
    ax.set_yscale("symlog", linthresh=1)
    ax.plot([-reach, 0, reach], [-reach, 0, reach], color=MUTED, lw=1, zorder=0)
    bars = {"fmt": "none", "color": MUTED, "alpha": 0.35, "zorder": 0}
    ax.errorbar(table["published"], table["published"], yerr=table["expected"], **bars)
    if len(table):
        style = {"hue": "kind", "style": "arm", "palette": "colorblind", "s": 60}
        sns.scatterplot(table, x="published", y="yours", ax=ax, **style)
        ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False, fontsize=8)
    ticks = [tick for tick in TICKS if abs(tick) <= reach]
    ax.set_xticks(ticks, map(str, ticks))
    ax.set_yticks(ticks, map(str, ticks))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), ylabel="your run: mean over seeds")
    ax.set_xlabel("published run: mean over seeds\n(logarithmic beyond 1)")
    return drawn
