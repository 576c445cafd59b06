"""Iterative removal: one example at a time, looked at again before each step (the paper's second modality).

Adding stored gradients commutes, so that without the second look this is the one-shot sum, in any order. What
iterating adds is that an example which is no longer known is left alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from unlearnkit.layers import Layers, parameters
from unlearnkit.ledger import GradientLedger, identity
from unlearnkit.unlearning.core import Inputs, Originals, add, length, nonzero
from unlearnkit.unlearning.replay import FIRST_EPOCH


@dataclass(frozen=True)
class Round:
    """One pass over the request: who was still known and lost a step, and how far the model is by now."""

    removed: tuple[str, ...]
    alpha: float  # of all rounds so far
    norm: float  # distance from the start
    seconds: float  # of this round


def iterate(
    model: PreTrainedModel,
    *,
    order: Sequence[str],
    ledger: GradientLedger,
    known: Callable[[str], bool],
    norms: Sequence[float],
    layers: Layers = "all",
    check_model: bool = True,
) -> Iterator[Round]:
    """Yield after every round, the model standing there; it is what it was when the walk ends or is left.

    In round k each example of `order` that is still `known` has its own gradient added, times the alpha that
    would make the whole request's step `norms[k]` long: if all are known, the round is that one-shot step.
    A round in which nobody is known changes nothing. Errors as for `unlearning.apply`.
    """
    inputs = Inputs.checked(FIRST_EPOCH, model, order, layers, ledger, None, None, check_model)
    whole = nonzero(length(ledger.stream(inputs.request, (1,), layers)), FIRST_EPOCH)
    touched, before = parameters(model, layers), identity.place(model)
    originals, total = Originals(touched), 0.0
    try:
        for norm in norms:
            started, removed = time.perf_counter(), []
            for example_id in inputs.request:
                if known(example_id):
                    add(touched, ledger.stream([example_id], (1,), layers), norm / whole)
                    removed.append(example_id)
            total += norm / whole
            identity.note_change(model, before)
            yield Round(tuple(removed), total, originals.distance(), time.perf_counter() - started)
    finally:
        originals.restore()
