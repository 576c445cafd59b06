"""Gradients of a model as it stands, taken through the ledger's own capture."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearnkit.data import Example
    from unlearnkit.layers import Layers
    from unlearnkit.ledger import GradientLedger


@contextmanager
def recorded(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", examples: "Sequence[Example]", **options
) -> "Iterator[GradientLedger]":
    """A ledger of the examples' present gradients, options as of `ledger.record`; it is gone afterwards."""
    from unlearnkit.ledger import record

    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-"))
    try:
        yield record(model, tokenizer, examples, folder / "ledger", **options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def gradient(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    examples: "Sequence[Example]",
    layers: "Layers",
    **options,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(parameter name, the examples' summed gradient) pairs, one dense tensor at a time."""
    with recorded(model, tokenizer, examples, **options) as book:
        yield from book.stream([e.id for e in examples], (1,), layers)
