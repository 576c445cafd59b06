"""How likely a true answer is to pass: the power of the tests that a verdict rests on, in closed form.

Each is the probability that a sample of n passes; of normal values with this mean and standard deviation.
"""

import math
from functools import cache

import numpy as np
from scipy import stats

from unlearnkit.errors import ConfigError
from unlearnkit.stats.samples import require_share

POINTS = 2000  # of the sample's standard deviation, at equal steps of its distribution; error below 1e-3


def tost_power(
    n: int, sd: float, margin: float, mean: float = 0.0, alpha: float = 0.05, closest: float = math.inf
) -> float:
    """Of two one-sided t tests of |mean| < margin, and of an estimate within ±closest where that is given.

    Owen's (1965) probability, by integration over the sample's standard deviation.
    """
    _require(n, sd, alpha)
    if sd == 0:
        return float(abs(mean) < min(margin, closest))
    half = margin - stats.t.ppf(1 - alpha, n - 1) * sd * _sample_sds(n) / math.sqrt(n)
    half, se = np.minimum(half, closest), sd / math.sqrt(n)
    inside = stats.norm.cdf((half - mean) / se) - stats.norm.cdf((-half - mean) / se)
    return float(np.where(half > 0, inside, 0.0).mean())


@cache
def _sample_sds(n: int) -> np.ndarray:
    """Quantiles of the standard deviation of n standard normal values; kept, since they take a while."""
    levels = (np.arange(POINTS) + 0.5) / POINTS
    return np.sqrt(stats.chi2.ppf(levels, n - 1) / (n - 1))


def below_power(n: int, sd: float, limit: float, mean: float = 0.0, alpha: float = 0.05) -> float:
    """Of a one-sided t test of mean < limit: by the noncentral t distribution."""
    _require(n, sd, alpha)
    if sd == 0:
        return float(mean < limit)
    shift = (mean - limit) / sd * math.sqrt(n)
    return float(stats.nct.cdf(-stats.t.ppf(1 - alpha, n - 1), n - 1, shift))


def sign_power(n: int, share: float, alpha: float = 0.05) -> float:
    """Of a two-sided exact sign test that finds more than half of n trials, each a hit with that share."""
    require_share(alpha, "alpha")
    if n < 1 or not 0 <= share <= 1:
        raise ConfigError(f"n={n} and share={share}: a sign test needs n >= 1 and a share from 0 to 1")
    needed = next((k for k in range(n // 2 + 1, n + 1) if stats.binomtest(k, n).pvalue < alpha), n + 1)
    return float(stats.binom.sf(needed - 1, n, share))


def _require(n: int, sd: float, alpha: float) -> None:
    require_share(alpha, "alpha")
    if n < 2 or not math.isfinite(sd) or sd < 0:
        raise ConfigError(f"n={n} and sd={sd}: power needs n >= 2 and a finite sd from 0")
