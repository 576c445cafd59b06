"""To matched forgetting: until a request's facts are on the mean as unlikely as they are to the oracle."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import pandas as pd
import torch

from unlearnkit import unlearning
from unlearnkit.claims.methods import NEAR
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
    most   further looks between the places around the crossing, until one is within `nats` of the level: at
           other lengths where the method can go back, on the line between two steps of an optimizer
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

    def is_there(self) -> bool:
        """Whether the facts are as unlikely as that before anything is done; `go` looks no second time."""
        self._look()
        return self.seen[self.here] >= self.level

    def go(self) -> tuple[unlearning.Result, bool]:
        """Unlearn in place, to the first crossing or, where there is none, the path's end; whether it is one.

        A path that diverges ends before; DivergenceError where it does at its first step. A method that goes
        to one place only has forgotten if it comes within NEAR of the level. Without steps nothing is done.
        """
        if not self.spec["steps"]:
            return self._apply(alpha=1.0), False
        if not self.method.stops and "steps" not in self.method.options:
            return self._apply(), self._nll() >= self.level - NEAR
        if not self.seen:
            self._look()
        if not self.method.stops:
            result = self._by_steps()
        else:
            result = self._along_a_line() if self.method.goes_back else self._by_legs()
        return result, crossing(self._curve(), self.level)[1]

    def _along_a_line(self) -> unlearning.Result:
        try:
            for here in self._walked(norms=self._lengths()):
                self._look()
                result = here
        except DivergenceError:
            return self._apply(norm=self._crossing())
        return result

    def _by_legs(self) -> unlearning.Result:
        """Each length is gone to from the one before, so that the walk is taken again to end at the last."""
        with contextlib.suppress(DivergenceError):
            for _ in self._walked(keep=False, norms=self._lengths()):
                self._look()
        legs, end = sorted(self.seen)[1:], max(self.seen)
        for left in range(self.most, -1, -1):
            place = self._crossing()
            *_, result = self._walked(norms=[*(s for s in legs if s < place), place])
            self.here = place
            self._look()
            if place == end or not left or self._is_near(place):
                break
            result.revert()
        return result

    def _by_steps(self) -> unlearning.Result:
        ahead, before = iter(self.spec["steps"]), self._weights()

        def is_there() -> bool:
            self.here = float(next(ahead))
            self._look()
            return self.seen[self.here] >= self.level

        try:
            for result in self._walked(steps=self.spec["steps"], until=is_there):
                if self.most and not result.told["stopped"]:
                    before = self._weights()
        except DivergenceError:
            return self._apply(steps=int(self._crossing()))
        return self._between(before, result) if self.most and result.told["stopped"] else result

    def _between(self, before: dict[str, torch.Tensor], result: unlearning.Result) -> unlearning.Result:
        """From the second of two optimizer steps back to where the line between them meets the level."""
        after, (low, high) = self._weights(), sorted(self.seen)[-2:]
        for place in self._nearer():
            self.here = place
            with torch.no_grad():
                for name, weight in self.walk.model.named_parameters():
                    weight.copy_(before[name].lerp(after[name], (place - low) / (high - low)))
            self._look()
        return result.moved()

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.walk.model.named_parameters()}

    def _lengths(self) -> Iterator[float]:
        """The grid up to the first crossing; then, where the method can go back, towards it, and there."""
        for share in self.spec["steps"]:
            self.here = share * self.walk.moved
            yield self.here
            if self.seen[self.here] >= self.level:
                break
        else:
            return
        for place in self._nearer() if self.method.goes_back else ():
            self.here = place
            yield place
        if self.method.goes_back and not self._is_near(self.here):
            self.here = self._crossing()
            yield self.here

    def _nearer(self) -> Iterator[float]:
        """Places at which the level would be met were the curve a line between those seen, one by one."""
        for _ in range(self.most):
            if self._is_near(self.here):
                return
            yield self._crossing()

    def _is_near(self, place: float) -> bool:
        return abs(self.seen[place] - self.level) <= self.nats

    def _crossing(self) -> float:
        """Where the path first crosses, or its end; DivergenceError where it has not even a first step.

        Without further looks it is no shorter than the first step.
        """
        if len(self.seen) == 1:
            raise DivergenceError(f"{self.method.name!r} diverges at its first step")
        place, first = crossing(self._curve(), self.level)[0], min(s for s in self.seen if s)
        return place if place and self.most else max(place, first)

    def _curve(self) -> pd.Series:
        return pd.Series(self.seen).sort_index()

    def _walked(self, keep: bool = True, **how) -> Iterator[unlearning.Result]:
        return unlearning.path(self.method.name, self.walk.model, keep=keep, **self._given() | how)

    def _apply(self, **how) -> unlearning.Result:
        return unlearning.apply(self.method.name, self.walk.model, **self._given() | how)

    def _given(self) -> dict:
        """As on any path, but nothing of those who were asked for earlier is retained."""
        given = given_to(self.walk, self.spec | {"ids": self.ids})
        if "retain" in given:
            given["retain"] = [e for e in given["retain"] if e.id not in {*self.asked, *self.ids}]
        return given

    def _look(self) -> None:
        self.seen[self.here] = self._nll()

    def _nll(self) -> float:
        examples = [e for e in self.walk.groups["facts"] if e.id in set(self.ids)]
        rows = measure.facts(self.walk.model, self.walk.tokenizer, examples)
        return rows.loc[rows["metric"] == "nll", "value"].mean()
