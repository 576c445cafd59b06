"""Forward passes shared by the metrics: evaluation mode, and logits only where they are needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError, DivergenceError


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Dropout off inside, the model's own mode restored after."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def forward(
    model: nn.Module, inputs: Mapping[str, Any], select: Callable[[torch.Tensor], torch.Tensor]
) -> Any:
    """The model's output with `logits` computed only for `select(hidden)`.

    `select` maps a (B, T, D) tensor to a (1, N, D) or (B, N, D) one and must not depend on D. It is applied
    to what enters the output head, which is where the time goes with a large vocabulary; a model whose head
    is not a module of its own gets it applied to its logits instead, with the same result.
    """
    reached = False

    def keep(_module: nn.Module, args: tuple) -> tuple:
        nonlocal reached
        reached = True
        return (select(args[0]), *args[1:])

    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(keep) if head is not None else None
    try:
        output = model(**inputs)
    finally:
        if hook is not None:
            hook.remove()
    if not reached:
        output.logits = select(output.logits)
    return output


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
