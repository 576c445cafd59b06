"""Checks shared by the tests: samples are finite, long enough, paired where they must be."""

import numpy as np
from numpy.typing import ArrayLike

from unlearnkit.errors import ConfigError, DataError

LEVEL = 0.95  # of every interval, unless said otherwise


def sample(values: ArrayLike, name: str, at_least: int = 2) -> np.ndarray:
    """The values as a float vector. Raises DataError for too few values, or any that is not finite."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise DataError(f"{name} must be a flat list of numbers; it has shape {array.shape}")
    if len(array) < at_least:
        raise DataError(f"{name} has {len(array)} value(s); this test needs at least {at_least}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise DataError(f"{name} holds {array[bad[0]]} at place {bad[0]}: drop or repair that pair first")
    return array


def pairs(before: ArrayLike, after: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of equal length, in the same order of units."""
    first, second = sample(before, "before"), sample(after, "after")
    if len(first) != len(second):
        raise DataError(f"before has {len(first)} values and after {len(second)}: a paired test needs pairs")
    return first, second


def require_spread(values: np.ndarray, name: str, scale: float) -> None:
    """Raise DataError where all values are the same up to rounding, so that a t value would be infinite.

    `scale` is the size of the numbers that the values were computed from: it sets what rounding is.
    """
    if np.ptp(values) <= 1e-12 * scale:
        raise DataError(f"{name} are all {values[0]:g}: with zero variance the test is undefined")


def require_share(value: float, name: str) -> None:
    """Raise ConfigError unless 0 < value < 1."""
    if not 0 < value < 1:
        raise ConfigError(f"{name}={value} must lie between 0 and 1")
