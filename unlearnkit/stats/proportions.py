"""Shares: Wilson's score interval (1927), good for few trials too, and an exact upper bound."""

from scipy import stats

from unlearnkit.errors import DataError
from unlearnkit.stats.samples import LEVEL, require_share


def share_ci(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of `hits` in `n` trials. DataError unless 0 <= hits <= n and n is positive."""
    require_share(level, "level")
    if not 0 <= hits <= n or not n:
        raise DataError(f"{hits} hits in {n} trials have no interval: give 0 <= hits <= n, and n from 1")
    low, high = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return float(low), float(high)


def exact_upper(hits: int, n: int, level: float = LEVEL) -> float:
    """Clopper and Pearson's (1934) one-sided upper bound: of no hit in n trials it is 1 - (1 - level)^(1/n).

    DataError as for `share_ci`.
    """
    require_share(level, "level")
    if not 0 <= hits <= n or not n:
        raise DataError(f"{hits} hits in {n} trials have no bound: give 0 <= hits <= n, and n from 1")
    return float(stats.binomtest(hits, n, alternative="less").proportion_ci(level, method="exact").high)
