"""Equivalence to the oracle: "not significantly different" is not "the same" (Schuirmann 1987)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.weightstats import DescrStatsW

from unlearnkit.errors import ConfigError
from unlearnkit.stats.samples import require_share, require_spread, sample


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests of |mean| < margin. The interval is the 1 - 2 alpha one that decides it.

    `equivalent` says that p < alpha, or which is the same, that the interval lies within the margin.
    """

    n: int
    mean: float
    margin: float
    p: float
    ci_low: float
    ci_high: float
    equivalent: bool


def tost(differences: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Test that the mean of paired differences lies within ±margin (their unit, fixed beforehand).

    Raises ConfigError for a margin that is not positive, DataError for fewer than two values, NaN or no
    variance.
    """
    require_share(alpha, "alpha")
    if not (np.isfinite(margin) and margin > 0):
        raise ConfigError(f"margin={margin} must be a positive number, in the unit of the differences")
    array = sample(differences, "differences")
    require_spread(array, "the differences", scale=np.abs(array).max())
    described = DescrStatsW(array)
    p = float(described.ttost_mean(-margin, margin)[0])
    low, high = described.tconfint_mean(alpha=2 * alpha)
    return Equivalence(len(array), float(array.mean()), float(margin), p, float(low), float(high), p < alpha)
