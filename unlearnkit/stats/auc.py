"""Membership as a ranking: AUC with its interval, TPR at a low FPR, and how two models' AUCs differ.

AUC = U / (n1 n0) is the probability that a member scores above an other, ties counting half. Far below 0.5
tells members from others as well as far above does: what has been unlearnt too much stands out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import brentq

from unlearnkit.errors import DataError
from unlearnkit.stats.proportions import share_ci
from unlearnkit.stats.samples import LEVEL, require_share, sample

NUDGE = 1e-9
NEGATIVES = 100  # others that a TPR at a low FPR needs: of fewer, an FPR of 1 % is no share at all


@dataclass(frozen=True)
class AUC:
    """An AUC of n1 members and n0 others, and its interval."""

    n1: int
    n0: int
    auc: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class AUCDifference:
    """AUC of the first model less that of the second, on the same examples."""

    first: float
    second: float
    difference: float
    se: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class TPR:
    """The share of members above a threshold that a share `fpr` of the others exceeds, with its interval."""

    tpr: float
    fpr: float
    threshold: float
    ci_low: float
    ci_high: float


def auc(members: ArrayLike, others: ArrayLike, level: float = LEVEL) -> AUC:
    """AUC with Newcombe's (2006, method 5) interval: Hanley and McNeil's variance, inverted as Wilson's is.

    It keeps its level where all members score above all others, where both theirs and DeLong's have width 0.
    """
    require_share(level, "level")
    x, y = sample(members, "members", 1), sample(others, "others", 1)
    n1, n0 = len(x), len(y)
    found = float(stats.mannwhitneyu(x, y, method="asymptotic").statistic) / (n1 * n0)
    z = stats.norm.ppf((1 + level) / 2)

    def beyond(true: float) -> float:
        extra = ((n1 + n0) / 2 - 1) * ((1 - true) / (2 - true) + true / (1 + true))
        return abs(found - true) - z * math.sqrt(true * (1 - true) * (1 + extra) / (n1 * n0))

    return AUC(n1, n0, found, *(_end(beyond, found, end) for end in (0.0, 1.0)))


def _end(beyond: Callable[[float], float], found: float, end: float) -> float:
    """Where `beyond` is 0 between the estimate and an end of the scale; it is 0 at the ends themselves."""
    if found == end:
        return end
    near = found + NUDGE * (end - found)
    return float(brentq(beyond, near, end))


def auc_difference(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], level: float = LEVEL
) -> AUCDifference:
    """Difference of two models' AUCs on the same (members, others), with DeLong's (1988) paired interval.

    Both models score the same examples in the same order. The interval is about these models and the examples
    that might have been drawn; over trainings, take the differences of several seeds. It has width 0 where
    both models rank perfectly. DataError for unequal lengths or fewer than two of either.
    """
    require_share(level, "level")
    (x, y), (x2, y2) = ((sample(m, "members"), sample(o, "others")) for m, o in (first, second))
    if len(x) != len(x2) or len(y) != len(y2):
        raise DataError(
            f"the models score {len(x)} and {len(x2)} members, {len(y)} and {len(y2)} others: give the same"
        )
    above, above2 = _above(x, y), _above(x2, y2)
    by_member, by_other = (above - above2).mean(axis=1), (above - above2).mean(axis=0)
    se = math.sqrt(by_member.var(ddof=1) / len(x) + by_other.var(ddof=1) / len(y))
    difference, half = float(by_member.mean()), float(stats.norm.ppf((1 + level) / 2)) * se
    return AUCDifference(
        float(above.mean()), float(above2.mean()), difference, se, difference - half, difference + half
    )


def _above(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each member scores above each other, (n1, n0); a half for a tie."""
    return (members[:, None] > others) + 0.5 * (members[:, None] == others)


def tpr_at_fpr(members: ArrayLike, others: ArrayLike, fpr: float = 0.01, level: float = LEVEL) -> TPR:
    """TPR above the lowest threshold that at most a share `fpr` of the others exceed, with Wilson's interval.

    The interval takes the threshold as given. DataError for fewer than 100 others, or fewer than 1 / fpr.
    """
    require_share(fpr, "fpr")
    x, y = sample(members, "members", 1), sample(others, "others", 1)
    needed = max(NEGATIVES, math.ceil(1 / fpr - 1e-9))
    if len(y) < needed:
        raise DataError(f"{len(y)} others: a TPR at FPR {fpr:g} needs at least {needed}; report the AUC")
    allowed = math.floor(fpr * len(y) + 1e-9)
    threshold = float(np.sort(y)[::-1][allowed])
    hits = int((x > threshold).sum())
    return TPR(hits / len(x), float((y > threshold).mean()), threshold, *share_ci(hits, len(x), level))
