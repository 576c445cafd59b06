"""How far to forget: until the facts are as unlikely as some never learnt, which needs no oracle."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import metrics
from unlearnkit.data import Example
from unlearnkit.study import plan
from unlearnkit.study.config import REFINED
from unlearnkit.study.route import between
from unlearnkit.unlearning.frame import METHODS, Result, prepare, walk

FIRST = 1e-4  # the shortest step, as a share of the weights' own length
LONGEST = 0.5  # the longest: what is left beyond is no model
RATIO, FINE_RATIO = 2.0, 2**0.5  # from one step to the next; where none can be taken back
MOST = 6  # steps back towards the level
KNOWN = 0.5  # nats a token below the level, from which facts count as known: a pass says nothing of others


@dataclass(frozen=True)
class Level:
    """The mean NLL (nats a token) that the facts are to reach, and in words whose it is."""

    nll: float
    words: str


def level_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    holdout: Sequence[Example],
    untaught: float | None = None,
) -> Level:
    """The mean NLL of facts that the model never met, as it stands before it unlearns (as Jang et al. 2023).

    These are the `holdout`; without them the request's own before they were taught (`untaught`), and without
    that some of this package's invented persons'. The three differ: a model that was retrained without the
    facts is near the first, and may lie on either side of the others.
    """
    strangers = list(holdout) or invented()
    nll = metrics.score(model, tokenizer, strangers)["nll"].mean()
    if holdout:
        words = f"{len(holdout)} never-trained facts of the data (split holdout)"
        if said := sum(metrics.recalls(model, tokenizer, holdout)):
            words += f", of which the model says {said} word for word"
        return Level(nll, words)
    words = f"{len(strangers)} invented facts about persons whom no model has met"
    if untaught is None:
        return Level(nll, words)
    return Level(untaught, f"the same facts before the model was taught them ({nll:.2f} are {words})")


def invented() -> list[Example]:
    """Facts about persons of this package's own making, of each about as many."""
    return list(plan.built_in(0).holdout)


@dataclass
class Lengths:
    """Lengths of a path: longer and longer until `level` is reached, then shorter again, the best one last.

    `seen` must be given the forget facts' mean NLL at 0, and be told it after each. The best is the shortest
    that reaches the level, `near` it if that can be had; if none does, the one where the facts are least
    likely.
    """

    level: float
    first: float
    longest: float
    seen: dict[float, float]
    goes_back: bool = True
    near: float = REFINED["nats"]

    def __iter__(self) -> Iterator[float]:
        length = self.first
        yield length
        while self.seen[length] < self.level and length < self.longest:
            length = min(length * (RATIO if self.goes_back else FINE_RATIO), self.longest)
            yield length
        if not self.goes_back:
            return
        for _ in range(MOST):
            high = self.best
            if self.seen[high] - self.level <= self.near:  # near enough, or nowhere near
                break
            low = max(shorter for shorter in self.seen if shorter < high)
            below, above = self.level - self.seen[low], self.seen[high] - self.level
            length = between(low, high, below, above)
            yield length
        if self.best != length:
            yield self.best

    @property
    def best(self) -> float:
        enough = [length for length, nll in self.seen.items() if nll >= self.level]
        return min(enough) if enough else max(self.seen, key=self.seen.__getitem__)


def carry_out(
    name: str,
    model: PreTrainedModel,
    request: Sequence[str],
    given: Mapping[str, Any],
    level: float,
    nll: Callable[[], float],
    size: float,
) -> tuple[Result, dict[float, float]]:
    """Unlearn in place: the Result, and the forget facts' mean NLL by length or step on the way.

    A method that takes lengths walks to the level; one of steps stops at the first that reaches it; any other
    does what it does, and its place is told by its length. `size` is the length of the weights, `nll` what is
    told of the model as it stands.
    Errors as for `unlearning.apply`; the model is then as it was.
    """
    method, seen = METHODS[name], {0.0: nll()}
    way = Lengths(level, FIRST * size, LONGEST * size, seen, method.goes_back)
    strengths = {"norms": (here := _Told(way))} if "norms" in method.stops else {}
    if not strengths and isinstance(steps := given.get("steps", method.options.get("steps")), int):
        given = {**given, "steps": range(1, steps + 1)} if "until" in method.options else given
    for result in walk(*prepare(name, model, request, "all", True, dict(given), strengths), keep=True):
        seen[here.length if strengths else result.told.get("step", result.norm)] = nll()
    return result, seen


class _Told(Iterator[float]):
    """An iterator that remembers what it last gave."""

    def __init__(self, lengths):
        self.lengths, self.length = iter(lengths), 0.0

    def __next__(self) -> float:
        self.length = next(self.lengths)
        return self.length
