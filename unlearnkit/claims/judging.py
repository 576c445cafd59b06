"""How a row of the protocol is judged: pass, fail or no power, on one number a training seed.

pass      the row's test holds: equivalence is shown, not a difference missed
fail      it does not hold, and a true oracle's would have; or, of however few seeds, the interval lies beyond
          the margin
no power  a true oracle would pass with a probability below 0.8, at this number of seeds and its own spread:
          nothing can be said; nor can it of fewer than 5 seeds, whose spread is itself a guess

A row of several columns (attacks, bits, k) passes if all do, which needs no correction, and shows the worst.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearnkit import stats
from unlearnkit.claims.rule import ALPHA
from unlearnkit.errors import DataError

PASS, FAIL, NO_POWER = "pass", "fail", "no power"
POWER = 0.8  # least probability with which a true oracle must pass for a row to say anything
FEWEST = 5  # seeds whose spread tells the power; set when gpt2-tiny had 24 and smollm2-135m 2


class Judgement(NamedTuple):
    """A verdict, what it rests on, and what this many seeds could have shown."""

    verdict: str
    estimate: float
    interval: tuple[float, float]
    power: str


class ColumnTest(NamedTuple):
    """One column's test; `power` is a true oracle's, `excess` how far the estimate is from the best."""

    estimate: float
    interval: tuple[float, float]
    passes: bool
    fails: bool
    power: float
    excess: float


def within(
    values: ArrayLike, control: ArrayLike, margin: float, alpha: float = ALPHA, closest: float = math.inf
) -> ColumnTest:
    """Two one-sided tests of |mean| < margin: whether the 1 - 2 alpha interval lies within.

    `control` holds the same of a true oracle; `closest`, where given, is the largest estimate that passes.
    """
    n, mean, low, high = _interval(values, 1 - 2 * alpha)
    _, sd = _spread(control)
    known = n >= FEWEST and math.isfinite(sd)
    power = stats.tost_power(n, sd, margin, alpha=alpha, closest=closest) if known else 0.0
    passes = max(abs(low), abs(high)) < margin and abs(mean) <= closest
    return ColumnTest(mean, (low, high), passes, low > margin or high < -margin, power, abs(mean))


def below(values: ArrayLike, control: ArrayLike, limit: float) -> ColumnTest:
    """A one-sided test of mean < limit, with the interval that decides it."""
    n, mean, low, high = _interval(values, 1 - 2 * ALPHA)
    centre, sd = _spread(control)
    known = n >= FEWEST and math.isfinite(sd)
    power = stats.below_power(n, sd, limit, centre, ALPHA) if known else 0.0
    return ColumnTest(mean, (low, high), high < limit, low > limit, power, mean)


def judged(tests: Sequence[ColumnTest], n: int) -> Judgement:
    """The module's rule, on the tests of all columns of a row."""
    power = max(0.0, 1 - sum(1 - test.power for test in tests))  # of all: at least this (Bonferroni)
    if any(test.fails for test in tests):
        verdict = FAIL
    elif power < POWER:
        verdict = NO_POWER
    else:
        verdict = PASS if all(test.passes for test in tests) else FAIL
    worst = max(tests, key=lambda test: (test.fails, not test.passes, test.excess))
    told = f"at {n} seeds a true oracle passes with probability {power:.2f}"
    return Judgement(verdict, worst.estimate, worst.interval, told)


def _interval(values: ArrayLike, level: float) -> tuple[int, float, float, float]:
    """n, mean and t interval; of one seed no interval."""
    array = np.asarray(values, float)
    if array.size == 1 and np.isfinite(array).all():
        return 1, float(array.item()), math.nan, math.nan
    found = stats.mean_ci(array, level)
    return found.n, found.mean, found.ci_low, found.ci_high


def _spread(control: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation of a true oracle's values; NaN of fewer than two."""
    array = np.asarray(control, float)
    return (float(array.mean()), float(array.std(ddof=1))) if array.size > 1 else (math.nan, math.nan)


def columns(values: ArrayLike, control: ArrayLike) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each column of two tables of seeds x columns; flat lists are one. DataError for unlike columns."""
    tables = [np.asarray(table, float) for table in (values, control)]
    wide = [table[:, None] if table.ndim == 1 else table for table in tables]
    if any(table.ndim != 2 or not table.size for table in wide) or wide[0].shape[1] != wide[1].shape[1]:
        raise DataError(
            f"a row takes seeds x columns and as many columns of the control: these are {tables[0].shape} "
            f"and {tables[1].shape}"
        )
    return zip(wide[0].T, wide[1].T, strict=True)
