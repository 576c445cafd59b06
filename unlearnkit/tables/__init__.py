"""Tables and wording of the report.

build     tables for people, saved beside the figures
wording   numbers in sentences
"""

from unlearnkit.tables.build import (
    contrasts,
    costs,
    facts,
    frame,
    influence,
    ledger,
    mean_and_range,
    readings,
    recipes,
    show,
)
from unlearnkit.tables.wording import (
    bytes_of,
    count,
    direction,
    duration,
    over_seeds,
    p_value,
    sentence_list,
)

__all__ = [
    "bytes_of",
    "contrasts",
    "costs",
    "count",
    "direction",
    "duration",
    "facts",
    "frame",
    "influence",
    "ledger",
    "mean_and_range",
    "over_seeds",
    "p_value",
    "readings",
    "recipes",
    "sentence_list",
    "show",
]
