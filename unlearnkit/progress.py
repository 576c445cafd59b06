"""Bars for what may take long."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")
AFTER = 5.0  # seconds; what ends before needs no bar


def shown(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar on the terminal or in the notebook after AFTER; TQDM_DISABLE=1 shows none."""
    return iter(tqdm(items, desc=what, total=total, delay=AFTER, leave=False))
