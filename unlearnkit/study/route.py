"""Where a path is looked at: the steps of its grid, then, where it can go back, steps towards its readings.

The readings: where the retain damage first reaches each of some levels, where the forget facts' mean NLL
first reaches the oracles', and where the path is closest to these. Lengths are shares of the fine-tuning
displacement. Imports no torch.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

EDGE = 0.2  # of a bracket: a next step keeps so far off its ends, so that it shrinks at each
GOLDEN = (3 - math.sqrt(5)) / 2


class Place(NamedTuple):
    """What was seen at a step, in nats: the retain facts' mean NLL, the forget facts' minus the oracles', D_F.

    The last two are NaN where no oracle is known.
    """

    retain: float
    gap: float = math.nan
    distance: float = math.nan


@dataclass
class Route:
    """The lengths of a path, one by one; it must be told at the start, and after each, what is observed there.

    steps      the grid, ascending
    stop       the grid is left once the retain damage is above so many nats, and all readings are met
    retain     ids of the retain facts
    target     each forget fact's mean NLL over the oracles; none where these are not known
    readings   `damage` (levels of retain damage, nats), and how near to get: `most` (steps towards each
               reading), `of_damage` (within this share of a level), `nats` (of the forget NLL, of D_F)
    goes_back  whether lengths may follow that are shorter than those before
    """

    steps: Sequence[float]
    stop: float
    retain: Collection[str]
    target: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    readings: Mapping[str, Any] | None = None
    goes_back: bool = False
    here: float = field(default=0.0, init=False)
    seen: dict[float, Place] = field(default_factory=dict, init=False)

    def __iter__(self) -> Iterator[float]:
        for self.here in self._lengths():
            yield self.here

    def tell(self, rows: pd.DataFrame) -> None:
        """What is observed at the present length, 0 before the first."""
        nll = rows[rows["metric"] == "nll"].set_index("example")["value"]
        away = nll.reindex(self.target.index) - self.target
        kept = nll[nll.index.isin(self.retain)]
        self.seen[self.here] = Place(kept.mean(), away.mean(), away.abs().mean())

    @property
    def is_refining(self) -> bool:
        """Whether the present length is none of the grid."""
        return self.here not in self.steps

    def _lengths(self) -> Iterator[float]:
        for share in self.steps:
            yield share
            if self._damage(share) > self.stop and self._has_met_all():
                break
        if self.readings and self.goes_back:
            for values, level, near in self._levels():
                yield from self._towards(values, level, near)
            yield from self._towards_closest()

    def _damage(self, share: float) -> float:
        return self.seen[share].retain - self.seen[0.0].retain

    def _gap(self, share: float) -> float:
        return self.seen[share].gap

    def _levels(self) -> list[tuple]:
        """(what is read at a length, the level it is to reach, how near is near enough), the primary first."""
        told = self.readings or {"damage": ()}
        found = [(self._gap, 0.0, told["nats"])] if self.readings else []
        return found + [(self._damage, level, told["of_damage"] * level) for level in told["damage"]]

    def _has_met_all(self) -> bool:
        """Whether every level was reached, and D_F has risen again."""
        reached = all(max(map(values, self.seen)) >= level for values, level, _ in self._levels())
        turned = self.seen[self.here].distance > min(p.distance for p in self.seen.values())
        return reached and (turned or not self.readings)

    def _towards(self, values, level: float, near: float) -> Iterator[float]:
        """Lengths between the two around the first crossing: where a line joining them crosses, or near it."""
        for _ in range(self.readings["most"]):
            lengths = sorted(self.seen)
            after = next((k for k, x in enumerate(lengths) if values(x) >= level), 0)
            if not after:  # never, or from the start
                return
            low, high = lengths[after - 1], lengths[after]
            below, above = level - values(low), values(high) - level
            if min(below, above) <= near:
                return
            yield low + (high - low) * min(max(below / (below + above), EDGE), 1 - EDGE)

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
