"""Where a path is looked at: the steps of its grid, then, where it can go back, steps towards its readings.

The readings: where the retain damage first reaches each of some levels, where the forget facts' mean NLL
first reaches the oracles', and where the path is closest to these. Lengths are shares of the fine-tuning
displacement. Imports no torch.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

EDGE = 0.2  # of a bracket: a next step keeps so far off its ends, so that it shrinks at each
GOLDEN = (3 - math.sqrt(5)) / 2


def between(low: float, high: float, below: float, above: float) -> float:
    """Where a line that is `below` a level at low, and `above` it at high, meets it; EDGE off either end."""
    return low + (high - low) * min(max(below / (below + above), EDGE), 1 - EDGE)


class Place(NamedTuple):
    """What a step comes to, in nats: the retain facts' mean NLL, the forget facts' minus the oracles', D_F.

    The last two are NaN where no oracle is known.
    """

    retain: float
    gap: float
    distance: float


@dataclass
class Route:
    """The lengths of a path, one by one; it must be told what is observed at the start and after each.

    steps      the grid, ascending
    stop       the grid is left once the retain damage is above so many nats, and all readings are met
    retain     ids of the retain facts
    target     each forget fact's mean NLL over the oracles; none where these are not known
    readings   `damage` (levels of retain damage, nats), and how near to get: `most` (steps towards each
               reading), `of_damage` (within this share of a level), `nats` (of the forget NLL, of D_F)
    goes_back  whether lengths may follow that are shorter than those before
    divides    whether the line to the first step, which may go past every reading, is looked at after it
    """

    steps: Sequence[float]
    stop: float
    retain: Collection[str]
    target: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    readings: Mapping[str, Any] | None = None
    goes_back: bool = False
    divides: bool = False
    here: float = field(default=0.0, init=False)
    seen: dict[float, Place] = field(default_factory=dict, init=False)

    def __iter__(self) -> Iterator[float]:
        for share in self._lengths():
            self.here = share
            yield share

    def tell(self, rows: pd.DataFrame) -> None:
        """Take note of what is observed at the present length, 0 before the first."""
        self.seen[self.here] = self._place(rows)

    def is_near(self, rows: pd.DataFrame) -> bool:
        """Whether a place of which this is observed is near enough to some level."""
        place = self._place(rows)
        return any(abs(value(place) - level) <= near for value, level, near in self._levels())

    def _place(self, rows: pd.DataFrame) -> Place:
        nll = rows[rows["metric"] == "nll"].set_index("example")["value"]
        away = nll.reindex(self.target.index) - self.target
        kept = nll[nll.index.isin(self.retain)]
        return Place(kept.mean(), away.mean(), away.abs().mean())

    def _lengths(self) -> Iterator[float]:
        for share in self.steps:
            yield share
            if self.divides and share == self.steps[0]:
                yield from self._refined()
            if self._damage(self.seen[share]) > self.stop and self._has_met_all(share):
                break
        if self.goes_back:
            yield from self._refined()

    def _refined(self) -> Iterator[float]:
        """Further lengths towards each reading."""
        if self.readings:
            for value, level, near in self._levels():
                yield from self._towards(value, level, near)
            yield from self._towards_closest()

    def _damage(self, place: Place) -> float:
        return place.retain - self.seen[0.0].retain

    def _levels(self) -> list[tuple[Callable[[Place], float], float, float]]:
        """(what is read at a place, the level it is to reach, how near is near enough), the primary first."""
        if not (told := self.readings):
            return []
        damages = [(self._damage, level, told["of_damage"] * level) for level in told["damage"]]
        return [(lambda place: place.gap, 0.0, told["nats"]), *damages]

    def _has_met_all(self, here: float) -> bool:
        """Whether every level was reached, and D_F has risen again."""
        if not self.readings:
            return True
        places = self.seen.values()
        turned = self.seen[here].distance > min(place.distance for place in places)
        return turned and all(max(map(value, places)) >= level for value, level, _ in self._levels())

    def _towards(self, value: Callable[[Place], float], level: float, near: float) -> Iterator[float]:
        """Lengths between the two around the first crossing: where a line that joins them crosses, about."""
        for _ in range(self.readings["most"]):
            lengths = sorted(self.seen)
            after = next((k for k, x in enumerate(lengths) if value(self.seen[x]) >= level), 0)
            if not after:  # never, or from the start
                return
            low, high = lengths[after - 1], lengths[after]
            below, above = level - value(self.seen[low]), value(self.seen[high]) - level
            if min(below, above) <= near:
                return
            yield between(low, high, below, above)

    def _towards_closest(self) -> Iterator[float]:
        """Golden sections of the longer of the two steps beside the one where D_F is smallest."""
        for _ in range(self.readings["most"]):
            lengths = sorted(self.seen)
            distances = [self.seen[x].distance for x in lengths]
            k = distances.index(min(distances))
            if k in (0, len(lengths) - 1):  # still falling at the end, or never
                return
            low, here, high = lengths[k - 1 : k + 2]
            if max(distances[k - 1], distances[k + 1]) - distances[k] <= self.readings["nats"]:
                return
            yield here + GOLDEN * (high - here if high - here > here - low else low - here)
