"""Chapter 16: a run of your own beside the published one: reading by reading, and cell by cell."""

import numpy as np
import pandas as pd
from scipy.stats import t

from unlearnkit.claims import ALPHA
from unlearnkit.report.ch01_data import learned
from unlearnkit.report.claim_values import claim_values, cost
from unlearnkit.report.contrasts import verdicts
from unlearnkit.report.readings import CORE, by_setting
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import NAMES, frame
from unlearnkit.study.collect import KEY_DIGITS

UPDATES = (*CORE, "adam_replay")


def readings_of(arm: Arm) -> dict[tuple[str, str], pd.Series]:
    """By (kind, name), a number a seed: claims' contrasts, prices and D_F of UPDATES, memorisation."""
    distance, trained = by_setting(arm), learned(arm.observations("train"))
    found = {("claim's contrast", claim): values for claim, values in claim_values(arm).items()}
    walked = [m for m in UPDATES if ("all", m) in distance]
    found |= {("price of forgetting", NAMES[m]): cost(arm, ("all", m)).dropna() for m in walked}
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


def shared_cells(yours: Run, published: Run) -> pd.DataFrame:
    """Cells of the same key in both runs, a row a stage of yours.

    Columns: stage, cells (yours), shared, equal (in every number but the time taken), same processor,
    unequal there (of these), apart (largest difference of an NLL, nats).
    """
    mine, theirs = ({c["key"]: c for c in run.manifest["cells"]} for run in (yours, published))
    rows = []
    for stage in dict.fromkeys(cell["stage"] for cell in mine.values()):
        cells = [key for key in mine if mine[key]["stage"] == stage]
        both = [key for key in cells if key in theirs]
        same = {k[:KEY_DIGITS] for k in both if _processor(mine[k]) == _processor(theirs[k])}
        other = _rows(published, stage, both).add_suffix("_other")
        pairs = _rows(yours, stage, both).join(other, how="outer")
        apart = (pairs["value"] - pairs["value_other"]).abs()
        alike = (apart == 0) | pairs[["value", "value_other"]].isna().all(axis=1)
        unequal = set(pairs.index.get_level_values("cell")[~alike])
        counts = (len(cells), len(both), len(both) - len(unequal), len(same), len(same & unequal))
        rows.append((stage, *counts, apart[pairs["metric"] == "nll"].max()))
    return frame(rows, "stage", "cells", "shared", "equal", "same processor", "unequal there", "apart")


def _processor(cell: dict) -> str | None:
    return cell["made"].get("device") or cell["made"].get("processor")


def _rows(run: Run, stage: str, keys: list[str]) -> pd.DataFrame:
    """Metric and value of the keys' cells, by cell and place in it."""
    rows = run.table(stage).reindex(columns=["cell", "metric", "value"])
    rows = rows[rows["cell"].isin([k[:KEY_DIGITS] for k in keys]) & (rows["metric"] != "training_seconds")]
    return rows.assign(place=rows.groupby("cell").cumcount()).set_index(["cell", "place"])
