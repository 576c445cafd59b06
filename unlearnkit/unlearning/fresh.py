"""Gradients of a model as it stands, taken through the ledger's own capture."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearnkit.data import Example
    from unlearnkit.layers import Layers


def gradient(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    examples: "Sequence[Example]",
    layers: "Layers",
    **options,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(parameter name, the examples' summed gradient) pairs, one dense tensor at a time."""
    from unlearnkit.ledger import recorded

    with recorded(model, tokenizer, examples, **options) as book:
        yield from book.stream([e.id for e in examples], (1,), layers)
