"""Numbers in sentences: rounding, plurals, intervals over seeds, and words that follow a sign."""

from collections.abc import Iterable

import numpy as np

from unlearnkit import stats


def count(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def over_seeds(values: Iterable[float], digits: int = 2, unit: str = "") -> str:
    """A mean with its 95 % interval over seeds; of one seed just the number, and that it is one."""
    array = np.asarray(list(values), dtype=float)
    tail = f" {unit}" if unit else ""
    if len(array) < 2:
        return f"{array.mean():.{digits}f}{tail} (one seed)"
    found = stats.mean_ci(array)
    low, high = f"{found.ci_low:.{digits}f}", f"{found.ci_high:.{digits}f}"
    return f"{found.mean:.{digits}f}{tail} (95 % interval over {len(array)} seeds: {low} to {high})"


def p_value(p: float) -> str:
    """Three digits, or a bound."""
    return "–" if not np.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def bytes_of(number: float) -> str:
    """A size in the decimal unit that suits it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def direction(
    difference: float, lower: str, higher: str, same: str = "no different", within: float = 0.0
) -> str:
    """The word for a difference's sign; `same` where its size is at most `within`."""
    if abs(difference) <= within:
        return same
    return lower if difference < 0 else higher


def sentence_list(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
