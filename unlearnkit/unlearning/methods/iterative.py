"""Iterative removal: one example at a time, looked at again before each step (the paper's second modality).

Adding stored gradients commutes, so that without the second look this is the one-shot sum, in any order. What
iterating adds is that an example which is no longer known is left alone.
"""

from collections.abc import Callable, Iterator

from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.methods.first_epoch import first_epoch


@free(
    title="one example at a time",
    family="replay",
    source="Zagardo 2024",
    needs=("ledger",),
    reads=("first epoch",),
)
def iterative(inputs, stops, *, known: Callable[[str], bool]) -> Iterator[dict]:
    """In the order of the request, each example still `known` (by id) has its own gradient added.

    A stop is a round over the request: if all are known, first_epoch's place of the same strength; if nobody
    is, no change. Tells `removed`, the ids that lost a step.
    """
    from unlearnkit.unlearning.originals import add

    unit, ledger, layers = stops.unit(first_epoch(inputs)), inputs.ledger, inputs.layers
    total = 0.0
    for leg in stops.legs():
        total, removed = total + leg * unit, []
        for example_id in inputs.request:
            if known(example_id):
                add(inputs.touched, ledger.stream([example_id], "first", layers), leg * unit)
                removed.append(example_id)
        yield {"alpha": total, "removed": tuple(removed)}
