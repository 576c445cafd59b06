"""Before/after on the same units: t test with its effect sizes, signed ranks, intervals, power.

The unit may be an example of one trained model (the paper's analysis) or a training seed (the one to
believe); the functions are the same.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.power import TTestPower

from unlearnkit.errors import ConfigError
from unlearnkit.stats.samples import LEVEL, pairs, require_share, require_spread, sample

WILCOXON_PAIRS = 6  # the fewest with which a two-sided p below 0.05 is possible


@dataclass(frozen=True)
class PairedT:
    """Two-sided paired t test of after - before, and Cohen's d in the three conventions in use.

    d_z = mean(diff) / sd(diff); d_av = mean(diff) / ((s1 + s2) / 2) (Lakens 2013); d_rms = mean(diff) /
    sqrt((s1^2 + s2^2) / 2), which pingouin reports. g_* are the same times Hedges' J = 1 - 3 / (4 df - 1),
    an approximation that is 0 at n = 2.
    """

    n: int
    mean_diff: float
    t: float
    df: int
    p: float
    ci_low: float
    ci_high: float
    d_z: float
    d_av: float
    d_rms: float
    g_z: float
    g_av: float
    g_rms: float


@dataclass(frozen=True)
class Wilcoxon:
    """Two-sided signed-rank test; `n` counts the pairs that differ, `w` is the smaller rank sum."""

    n: int
    w: float
    p: float


@dataclass(frozen=True)
class Interval:
    """A mean and its t interval."""

    n: int
    mean: float
    sd: float
    ci_low: float
    ci_high: float


def paired_t(before: ArrayLike, after: ArrayLike, level: float = LEVEL) -> PairedT:
    """Paired t test; all signs are those of after - before, so a fall is negative.

    Raises DataError for fewer than two pairs, unequal lengths, NaN, or differences without variance.
    """
    require_share(level, "level")
    first, second = pairs(before, after)
    diff = second - first
    require_spread(diff, "the differences", scale=max(np.abs(first).max(), np.abs(second).max()))
    result = stats.ttest_rel(second, first)
    low, high = result.confidence_interval(level)
    s1, s2 = first.std(ddof=1), second.std(ddof=1)
    mean, df = diff.mean(), len(diff) - 1
    d = {
        "z": mean / diff.std(ddof=1),
        "av": mean / ((s1 + s2) / 2),
        "rms": mean / np.sqrt((s1**2 + s2**2) / 2),
    }
    j = 1 - 3 / (4 * df - 1)
    sizes = {f"d_{k}": float(v) for k, v in d.items()} | {f"g_{k}": float(j * v) for k, v in d.items()}
    return PairedT(
        n=len(diff),
        mean_diff=float(mean),
        t=float(result.statistic),
        df=df,
        p=float(result.pvalue),
        ci_low=float(low),
        ci_high=float(high),
        **sizes,
    )


def wilcoxon(before: ArrayLike, after: ArrayLike) -> Wilcoxon | None:
    """Signed-rank test, or None with fewer than six pairs that differ: there it cannot reach p < 0.05."""
    first, second = pairs(before, after)
    n = int(np.count_nonzero(second - first))
    if n < WILCOXON_PAIRS:
        return None
    result = stats.wilcoxon(second, first)
    return Wilcoxon(n, float(result.statistic), float(result.pvalue))


def mean_ci(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Mean with its t interval, for example over training seeds. Equal values give an interval of width 0."""
    require_share(level, "level")
    array = sample(values, "values")
    n, mean, sd = len(array), float(array.mean()), float(array.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / np.sqrt(n)
    return Interval(n, mean, sd, float(mean - half), float(mean + half))


def mde(n: int, sd: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest mean difference that a two-sided paired t test of n pairs finds with that power.

    `sd` is the standard deviation of the differences; the result is in its unit.
    """
    require_share(alpha, "alpha")
    require_share(power, "power")
    if power <= alpha:
        raise ConfigError(f"power={power} must exceed alpha={alpha}, which even no difference reaches")
    if n < 2 or not np.isfinite(sd) or sd <= 0:
        raise ConfigError(f"n={n} and sd={sd}: a paired t test needs n >= 2 and a finite sd above 0")
    return _detectable_d(n, alpha, power) * sd


@cache
def _detectable_d(n: int, alpha: float, power: float) -> float:
    """Smallest d_z found with that power; solved once for each n, since the search takes a while."""
    return float(TTestPower().solve_power(nobs=n, alpha=alpha, power=power))
