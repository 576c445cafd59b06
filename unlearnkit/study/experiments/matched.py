"""To matched forgetting: until a request's facts are on the mean as unlikely as they are to the oracle."""

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pandas as pd

from unlearnkit import unlearning
from unlearnkit.claims.methods import NEAR
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError
from unlearnkit.study.experiments import measure
from unlearnkit.study.experiments.unlearn import Walk, given_to
from unlearnkit.study.readings import crossing


@dataclass
class Approach:
    """One request's way there, by the method of a path's specification, from where the model stands.

    ids    the request
    level  the mean NLL of its facts to the oracle
    asked  ids that were asked for earlier: no method sees them as retained
    most   further looks between the places around the crossing, where the method can go back, until one is
           within `nats` of the level
    """

    walk: Walk
    spec: dict
    ids: list[str]
    level: float
    asked: Collection[str] = ()
    most: int = 0
    nats: float = 0.0
    seen: dict[float, float] = field(default_factory=dict, init=False)  # mean NLL by length or step
    here: float = field(default=0.0, init=False)

    @property
    def method(self) -> unlearning.Method:
        return unlearning.METHODS[self.spec["method"]]

    def go(self) -> tuple[unlearning.Result, bool]:
        """Unlearn in place, to the first crossing or, where there is none, the path's end; whether it is one.

        A path that diverges ends before; DivergenceError where it does at its first step. A method that goes
        to one place only has forgotten if it comes within NEAR of the level. Without steps nothing is done.
        """
        if not self.spec["steps"]:
            return self._apply(alpha=1.0), False
        if not self.method.stops and "steps" not in self.method.options:
            return self._apply(), self._nll() >= self.level - NEAR
        place, reached = self._place()
        if not self.method.stops:
            return self._apply(steps=int(place)), reached
        if self.method.goes_back:
            return self._apply(norm=place), reached
        norms = [*(s for s in sorted(self.seen) if 0 < s < place), place]  # each from where the last one led
        *_, result = unlearning.path(
            self.method.name, self.walk.model, norms=norms, keep=True, **self._given()
        )
        return result, reached

    def _apply(self, **how) -> unlearning.Result:
        return unlearning.apply(self.method.name, self.walk.model, **self._given() | how)

    def _given(self) -> dict:
        """As on any path, but nothing of those who were asked for earlier is retained."""
        given = given_to(self.walk, self.spec | {"ids": self.ids})
        if "retain" in given:
            given["retain"] = [e for e in given["retain"] if e.id not in {*self.asked, *self.ids}]
        return given

    def _place(self) -> tuple[float, bool]:
        """(length or step, whether it gets there) of the path's first crossing, or its end."""
        self.seen = {0.0: self._nll()}
        try:
            for place in self._path():
                self.seen[place] = self._nll()
                if not self.method.stops and self.seen[place] >= self.level:
                    break
        except DivergenceError:  # as far as it goes
            if len(self.seen) == 1:
                raise
        place, reached = crossing(self._curve(), self.level)
        if not self.method.stops:  # the step after: no half ones
            place = min(step for step in self.seen if step >= place)
        return max(place, min(s for s in self.seen if s)), reached

    def _path(self) -> Iterator[float]:
        """The path's places, the model standing there; then it is back at the start."""
        given, name = self._given(), self.method.name
        if self.method.stops:
            with closing(unlearning.path(name, self.walk.model, norms=self._lengths(), **given)) as places:
                for _ in places:
                    yield self.here
        else:
            for result in unlearning.path(name, self.walk.model, **given | {"steps": self.spec["steps"]}):
                yield float(result.told["step"])

    def _lengths(self) -> Iterator[float]:
        """The grid up to the first crossing; then towards it."""
        for share in self.spec["steps"]:
            self.here = share * self.walk.moved
            yield self.here
            if self.seen[self.here] >= self.level:
                break
        else:
            return
        for _ in range(self.most if self.method.goes_back else 0):
            if min(abs(nll - self.level) for nll in self.seen.values()) <= self.nats:
                return
            self.here = crossing(self._curve(), self.level)[0]
            yield self.here

    def _curve(self) -> pd.Series:
        return pd.Series(self.seen).sort_index()

    def _nll(self) -> float:
        rows = measure.facts(self.walk.model, self.walk.tokenizer, self._examples())
        return rows.loc[rows["metric"] == "nll", "value"].mean()

    def _examples(self) -> list[Example]:
        return [e for e in self.walk.groups["facts"] if e.id in set(self.ids)]
