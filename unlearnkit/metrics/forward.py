"""What the metrics share: batches of similar length, the check for finite values, weights put back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError, DivergenceError
from unlearnkit.unlearning.originals import Originals


def by_length(examples: Sequence[Example], batch_size: int) -> list[list[int]]:
    """Indices of the examples in batches of similar length, longest first, so that little is padding.

    Raises DataError for an empty list and ConfigError for a batch size below 1.
    """
    if not examples:
        raise DataError("there are no examples to score: the list is empty")
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be at least 1")
    # Characters stand in for tokens: the order only has to be roughly right, and ties are stable.
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].text))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def require_finite(values: torch.Tensor, ids: Sequence[str], what: str) -> None:
    """Raise DivergenceError naming the first example whose value is not finite."""
    bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
    if bad:
        raise DivergenceError(
            f"the {what} of {ids[bad[0]]!r} is not finite: the model has diverged; "
            "use a smaller learning rate or alpha"
        )


@contextmanager
def restored(model: nn.Module, touched: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """These weights may move inside; after, they are what they were, bit for bit, and `.grad` is empty.

    Their values wait on disk, as an unlearning method's do.
    """
    originals = Originals(dict(touched))
    try:
        yield
    finally:
        originals.restore()
        model.zero_grad(set_to_none=True)
