"""Distance between two distributions: Kolmogorov-Smirnov's D with an interval beside its p.

p is not comparable between sample sizes (D = 0.15 gives 0.77 at n = 40 and 0.00024 at n = 400); D is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from unlearnkit.errors import ConfigError
from unlearnkit.stats.samples import LEVEL, require_share, sample


@dataclass(frozen=True)
class KS:
    """Two-sample D = sup |F - G|, its two-sided p, and a bootstrap interval of D."""

    n: int
    m: int
    d: float
    p: float
    ci_low: float
    ci_high: float


def ks(x: ArrayLike, y: ArrayLike, resamples: int = 2000, seed: int = 0, level: float = LEVEL) -> KS:
    """Kolmogorov-Smirnov test with the basic bootstrap interval 2D - q(1-a/2) .. 2D - q(a/2), cut to [0, 1].

    Basic and not percentile: D is biased upwards and a resampled D twice so, which keeps percentile
    intervals from ever covering 0 between equal distributions. The basic interval is a little too short for
    small samples: in simulations of nominal 95 % it covers the true D in 75 to 90 % at n = 20 to 200.
    """
    require_share(level, "level")
    if resamples < 100:
        raise ConfigError(f"resamples={resamples}: the interval needs at least 100")
    first, second = sample(x, "x"), sample(y, "y")
    test = stats.ks_2samp(first, second)
    d = float(test.statistic)
    resampled = _resampled_d(first, second, resamples, np.random.default_rng(seed))
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return KS(
        n=len(first),
        m=len(second),
        d=d,
        p=float(test.pvalue),
        ci_low=float(max(0.0, 2 * d - high)),
        ci_high=float(min(1.0, 2 * d - low)),
    )


def _resampled_d(x: np.ndarray, y: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """D of bootstrap resamples of both samples, shape (resamples,): resampling is a multinomial of counts."""
    places, where = np.unique(np.concatenate([x, y]), return_inverse=True)
    cumulative = []
    for part, own in ((where[: len(x)], len(x)), (where[len(x) :], len(y))):
        share = np.bincount(part, minlength=len(places)) / own
        cumulative.append(rng.multinomial(own, share, size=resamples).cumsum(axis=1) / own)
    return np.abs(cumulative[0] - cumulative[1]).max(axis=1)
