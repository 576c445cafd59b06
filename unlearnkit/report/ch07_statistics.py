"""Chapter 07: every claim over training seeds and over persons, and how many seeds it takes."""

from dataclasses import asdict
from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.report.ch07_facts import EMBEDDING, FIRST
from unlearnkit.report.contrasts import (
    TESTED,
    claim_values,
    influence_pairs,
    paired,
    with_holm,
)
from unlearnkit.report.readings import by_setting, path_table
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import frame

D_F_CLAIMS = ("C1", "C1a", "C2a", "C5")  # contrasts of one unit, which one axis can show
STUDIES = (2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40)  # seeds of the studies in the power curve


@cache
def seed_tests(arm: Arm) -> pd.DataFrame:
    """Every claim's contrast over training seeds: a row a claim.

    Columns: id, n, mean, those of TESTED, d_av and g_av (the mean by the mean standard deviation of the two
    readings), p_wilcoxon (with at least six seeds that differ), detectable (smallest difference found in 80
    of 100 such studies), p_holm (over the claims of the arm). NaN where the seeds are too few.
    """
    pairs = claim_pairs(arm)
    rows = [_seed_test(claim, v, *pairs[claim]) for claim, v in claim_values(arm).items() if len(v)]
    extra = ("d_av", "g_av", "p_wilcoxon", "detectable")
    return with_holm(frame(rows, "id", "n", "mean", *TESTED, *extra))


def _seed_test(claim: str, values: pd.Series, less: pd.Series, more: pd.Series) -> dict:
    row = {"id": claim, **paired(values)}
    if "d_z" not in row:
        return row
    signed = stats.wilcoxon(np.zeros(len(values)), values)
    row |= {"p_wilcoxon": signed.p if signed else np.nan, "detectable": stats.mde(len(values), values.std())}
    try:
        test = asdict(stats.paired_t(less, more))
    except DataError:
        return row  # of two readings that never vary
    return row | {k: test[k] for k in ("d_av", "g_av")}


def claim_pairs(arm: Arm) -> dict[str, tuple[pd.Series, pd.Series]]:
    """By claim: the two readings of each seed, (less, more), whose difference is its contrast.

    Of the influence claims, whose contrast is a share of the score before, the scores themselves.
    """
    distance, found = by_setting(arm), {}
    start = path_table(arm, methods=()).set_index("seed")["forget_nll"]
    settings = {"C1": FIRST, "C1a": FIRST, "C2a": EMBEDDING, "C5": ("all", "iterative")}
    scores = {"C3a": "influence_activation", "C3b": "influence_gradient"}
    for claim, values in claim_values(arm).items():
        if claim in scores:
            means = influence_pairs(arm, scores[claim]).groupby("seed")[["after", "before"]].mean()
            found[claim] = means["after"], means["before"]
        else:
            less = distance[settings[claim]] if claim in settings else start
            less = (less - values if claim == "C4" else less)[values.index]
            found[claim] = less, less + values
    return found


def by_person(arm: Arm) -> dict[str, list[pd.Series]]:
    """Each claim's contrasts, a series a person; no claim with one person, or with one seed a person."""
    found = {}
    for claim, values in claim_values(arm).items():
        groups = [group for _, group in values.groupby(values.index.map(arm.target_of))]
        if 2 <= len(groups) < len(values):
            found[claim] = groups
    return found


def person_tests(arm: Arm) -> pd.DataFrame:
    """Every claim's contrast with persons as replicates, each person's seeds averaged first: a row a claim.

    Columns: id, n (persons), mean, those of TESTED, p_holm (over the claims of the arm). It speaks of persons
    that the arm has not met; no rows where nobody is forgotten under two orders of training.
    """
    means = {claim: pd.Series([g.mean() for g in groups]) for claim, groups in by_person(arm).items()}
    return with_holm(frame([{"id": c, **paired(v)} for c, v in means.items()], "id", "n", "mean", *TESTED))


def components(run: Run) -> pd.DataFrame:
    """Each contrast's spread over seeds, taken apart: what the order of training does, and who is forgotten.

    Columns: arm, claim, n, persons, sd_order (within a person, over orders), sd_person (between persons
    beyond that; one-way random effects, 0 where the estimate is negative). Only of `by_person`'s claims.
    """
    rows = []
    for arm in run.arms:
        for claim, groups in by_person(arm).items():
            values, k = pd.concat(groups), len(groups)
            n = len(values)
            within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (n - k)
            between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups) / (k - 1)
            size = (n - sum(len(g) ** 2 for g in groups) / n) / (k - 1)
            rows.append((arm.name, claim, n, k, within**0.5, max(0.0, (between - within) / size) ** 0.5))
    return frame(rows, "arm", "claim", "n", "persons", "sd_order", "sd_person")


def power(arm: Arm) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The smallest difference that four of five studies find, in nats, by their seeds: claim, seeds, found.

    From each contrast's spread over the arm's seeds: for STUDIES, and for a study of the arm's own size.
    """
    spread = {c: v for c, v in claim_values(arm).items() if c in D_F_CLAIMS and v.std() > 0}
    rows = [(c, n, stats.mde(n, v.std())) for c, v in spread.items() for n in STUDIES]
    own = [(c, len(v), stats.mde(len(v), v.std())) for c, v in spread.items()]
    return frame(rows, "claim", "seeds", "found"), frame(own, "claim", "seeds", "found")
