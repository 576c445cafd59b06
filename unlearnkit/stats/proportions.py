"""Shares: Wilson's score interval of a proportion (Wilson 1927), which holds its level for few trials too."""

from scipy import stats

from unlearnkit.errors import DataError
from unlearnkit.stats.samples import require_share

LEVEL = 0.95


def share_ci(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of `hits` in `n` trials. DataError unless 0 <= hits <= n and n is positive."""
    require_share(level, "level")
    if not 0 <= hits <= n or not n:
        raise DataError(f"{hits} hits in {n} trials have no interval: give 0 <= hits <= n, and n from 1")
    low, high = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return float(low), float(high)
