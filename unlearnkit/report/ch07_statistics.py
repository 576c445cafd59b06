"""Chapter 07: every claim over training seeds, and how many seeds it takes."""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.report.claim_values import PAIRS, claim_values
from unlearnkit.report.contrasts import TESTED, paired, verdicts
from unlearnkit.report.run import Arm
from unlearnkit.report.tables import frame

STUDIES = (2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40)  # seeds of the studies in the power curve


@cache
def seed_tests(arm: Arm) -> pd.DataFrame:
    """Every claim's contrast over training seeds: a row a claim.

    Columns: id, n, mean, those of TESTED, p and p_holm (of the verdict: `claims.rule`), p_wilcoxon (of no
    difference; with at least six seeds that differ), detectable (smallest difference found in 80 of 100 such
    studies). NaN where the seeds are too few.
    """
    judged = {row["id"]: row for row in verdicts(arm.run) if row["arm"] == arm.name}
    rows = [_seed_test(judged[claim], values) for claim, values in claim_values(arm).items()]
    return frame(rows, "id", "n", "mean", *TESTED, "p_holm", "p_wilcoxon", "detectable")


def _seed_test(judged: dict, values: pd.Series) -> dict:
    row = {"id": judged["id"], **paired(values)}
    if "d_z" not in row:
        return row
    signed = stats.wilcoxon(np.zeros(len(values)), values)
    row |= {"p_wilcoxon": signed.p if signed else np.nan}
    return row | {k: judged[k] for k in ("p", "p_holm", "detectable")}


def power(arm: Arm) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The smallest difference that four of five studies find, in nats, by their seeds: claim, seeds, found.

    From each contrast's spread over the arm's seeds: for STUDIES, and for a study of the arm's own size.
    """
    spread = {c: v for c, v in claim_values(arm).items() if c in PAIRS and v.std() > 0}
    rows = [(c, n, stats.mde(n, v.std())) for c, v in spread.items() for n in STUDIES]
    own = [(c, len(v), stats.mde(len(v), v.std())) for c, v in spread.items()]
    return frame(rows, "claim", "seeds", "found"), frame(own, "claim", "seeds", "found")
