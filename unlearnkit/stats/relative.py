"""The relative test: is an unlearned model nearer to the retrained one than to the one before?

Two-sample tests reject safe retrains, which never are the same model twice; asking which of two models a
third resembles does not (arXiv:2601.19755). It says nothing of how near: that is for a test of equivalence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from unlearnkit.errors import DataError
from unlearnkit.stats.samples import LEVEL, require_share


@dataclass(frozen=True)
class Relative:
    """`shares` of a seed's facts that are nearer to the oracle; `nearer` seeds where that is more than half.

    p is that of a two-sided exact sign test over seeds, and the interval Clopper and Pearson's (1934) of the
    share of seeds.
    """

    n: int
    shares: tuple[float, ...]
    nearer: int
    p: float
    ci_low: float
    ci_high: float


def relative(unlearned: ArrayLike, oracle: ArrayLike, original: ArrayLike, level: float = LEVEL) -> Relative:
    """|m(U) - m(oracle)| < |m(U) - m(original)| per fact, of one measure m as three arrays (seeds, facts).

    A tie counts as not nearer, for a fact and for a seed. Facts may be NaN where a seed has fewer. Raises
    DataError for unequal shapes, or a seed without facts.
    """
    require_share(level, "level")
    given = {"unlearned": unlearned, "oracle": oracle, "original": original}
    ours, theirs, before = (np.asarray(v, dtype=float) for v in given.values())
    if ours.ndim != 2 or not ours.size or not ours.shape == theirs.shape == before.shape:
        shapes = ", ".join(f"{k} {np.shape(v)}" for k, v in given.items())
        raise DataError(f"the three must be tables of the same seeds x facts; they are {shapes}")
    there = np.isfinite(ours) & np.isfinite(theirs) & np.isfinite(before)
    if not there.any(axis=1).all():
        raise DataError(f"seed {np.flatnonzero(~there.any(axis=1))[0]} has no fact that all three have")
    nearer = np.abs(ours - theirs) < np.abs(ours - before)
    shares = (nearer & there).sum(axis=1) / there.sum(axis=1)
    test = stats.binomtest(int((shares > 0.5).sum()), len(shares))
    low, high = test.proportion_ci(level, method="exact")
    return Relative(
        len(shares), tuple(shares.tolist()), int(test.k), float(test.pvalue), float(low), float(high)
    )
