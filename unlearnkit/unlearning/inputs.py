"""What a method is given: its inputs, checked, and where to stop. Imports no torch until a method runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from unlearnkit.data import require_own_ids
from unlearnkit.devices import require_proven
from unlearnkit.errors import MethodError, RequestError
from unlearnkit.unlearning.limits import require_finite

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearnkit.data import Example
    from unlearnkit.layers import Layers
    from unlearnkit.ledger import GradientLedger
    from unlearnkit.training import History, Shards
    from unlearnkit.unlearning.originals import Originals

INPUTS = (
    "ledger",
    "examples",
    "retain",
    "reference",
    "checkpoints",
    "shards",
    "tokenizer",
)  # what a method may need


@dataclass
class Inputs:
    """What a method may draw on. `request` holds the ids to forget, each once, in the order given."""

    method: str
    model: "PreTrainedModel"
    request: list[str]
    layers: "Layers" = "all"
    moves: bool = True
    ledger: "GradientLedger | None" = None
    examples: "Sequence[Example] | None" = None  # those to forget among them
    retain: "Sequence[Example] | None" = None
    reference: "PreTrainedModel | None" = None
    checkpoints: "History | None" = None
    shards: "Shards | None" = None
    tokenizer: "PreTrainedTokenizerBase | None" = None

    def check(self, needs: Iterable[str], check_model: bool) -> None:
        """MethodError for a missing input; RequestError or LedgerError for one that does not fit."""
        if not self.request:
            raise RequestError("the forget request is empty: name at least one example id")
        if missing := [n for n in needs if getattr(self, n) in (None, [], ())]:
            raise MethodError(f"method {self.method!r} needs {missing[0]}=: pass it to unlearning.apply")
        require_proven(self.model)
        if self.ledger is not None:
            from unlearnkit.ledger import GradientLedger

            if not isinstance(self.ledger, GradientLedger):
                raise MethodError(
                    f"method {self.method!r}: ledger={self.ledger!r} is none: give what "
                    "ledger.GradientLedger.open(folder, model) returns"
                )
            self.ledger.require_model(self.model, check_model)
        ids = set(self.request)
        for name in ("examples", "retain"):
            require_own_ids((e.id for e in getattr(self, name) or ()), f"{name}='s")
        if self.examples is not None and (unknown := ids - {e.id for e in self.examples}):
            raise RequestError(f"the request names ids that are not among examples=: {sorted(unknown)[:5]}")
        if shared := ids & {e.id for e in self.retain or ()}:
            raise RequestError(f"retain= and the request share {sorted(shared)[:5]}")

    @cached_property
    def originals(self) -> "Originals":
        """The model as the walk found it; the frame asks before anything moves."""
        from unlearnkit.layers import parameters
        from unlearnkit.unlearning.originals import Originals

        return Originals(parameters(self.model, self.layers) if self.moves else {})

    @property
    def touched(self) -> "dict[str, torch.nn.Parameter]":
        """The weights that the method may move, by name."""
        return self.originals.touched

    @property
    def forget(self) -> "list[Example]":
        """The examples of the request, in the order of `examples`."""
        wanted = set(self.request)
        return [e for e in self.examples if e.id in wanted]


@dataclass(frozen=True)
class Stops:
    """Where a walk stops: alphas, or distances from the start. A method without a strength gets none.

    `values` may be an iterator: it is asked for the next one after the caller has looked at the one before.
    """

    method: str
    by: str = ""  # "alpha" or "norm"
    values: tuple[float, ...] | Iterator[float] = ()

    def __post_init__(self) -> None:
        if isinstance(self.values, tuple):  # others when they are added
            require_finite(*self.values)

    @property
    def is_one(self) -> bool:
        """Whether there is one stop, and no more to be asked for."""
        return isinstance(self.values, tuple) and len(self.values) == 1

    def unit(self, direction: "Iterable[tuple[str, torch.Tensor]]") -> float:
        """The alpha of one unit of `values` along a direction, which is gone through if they are lengths."""
        from unlearnkit.unlearning.originals import length

        size = length(direction) if self.by == "norm" else 1.0
        if size == 0:
            raise MethodError(
                f"method {self.method!r} has a zero direction: no alpha gives a step of any length"
            )
        return 1 / size

    def legs(self) -> Iterator[float]:
        """From each stop to the next, for walks that do not begin anew at every stop."""
        return (b - a for a, b in pairwise(chain((0.0,), self.values)))
