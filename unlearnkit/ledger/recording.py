"""Making ledgers: the description of a new one, and recording a model's gradients without training it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward, models
from unlearnkit.batching import Batch, batch_of
from unlearnkit.data import Example
from unlearnkit.errors import LedgerError
from unlearnkit.layers import tags
from unlearnkit.ledger import identity
from unlearnkit.ledger.book import GradientLedger
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.ledger.sites import discover
from unlearnkit.ledger.slab import DTYPES
from unlearnkit.ledger.store import Store

DTYPE = "float16"  # default encoding of the factors


def create(
    path: str | Path, model: PreTrainedModel, ids: Sequence[str], recipe: dict, dtype: str = DTYPE
) -> Store:
    """A new, empty ledger for this model, recipe and these examples."""
    if dtype not in DTYPES:
        raise LedgerError(f"ledger dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    named = dict(model.named_parameters())
    head = {
        "model": {"name": type(model).__name__, "fingerprint": models.fingerprint(model)},
        "weights": {identity.START: identity.digests(model)},
        "recipe": recipe,
        "dtype": dtype,
        "expected": list(ids),
        "sites": [site.to_json() for site in discover(model)],
        "slots": [
            (slot.parameter, slot.role, sorted(names), list(named[slot.parameter].shape))
            for slot, names in tags(model).items()
        ],
    }
    return Store.create(Path(path), head)


def record(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    path: str | Path,
    *,
    loss_on: str = "answer",
    batch_size: int = 8,
    divisor: float = 1.0,
    dtype: str = "float32",
) -> GradientLedger:
    """Gradients of the model as it is, without dropout, one epoch, no step: l_i / divisor for each example.

    Used for gradients at theta_0, for influence against the current model, and for tests.
    """
    parts = [examples[start : start + batch_size] for start in range(0, len(examples), batch_size)]
    batches = [batch_of(tokenizer, part, loss_on) for part in parts]
    return record_batches(model, batches, path, loss_on=loss_on, divisor=divisor, dtype=dtype)


@torch.enable_grad()  # callers that change weights in place, like gradient ascent, have it off
def record_batches(
    model: PreTrainedModel,
    batches: Sequence[Batch],
    path: str | Path,
    *,
    loss_on: str = "answer",
    divisor: float = 1.0,
    dtype: str = "float32",
) -> GradientLedger:
    """`record` of finished batches; `loss_on` is what their labels were made for."""
    ids = [i for batch in batches for i in batch.ids]
    store = create(path, model, ids, {"epochs": 1, "loss_on": loss_on}, dtype)
    recorder = Recorder(model, store)
    with forward.evaluation_mode(model), _activations_only(model), recorder:
        for step, batch in enumerate(batches):
            recorder.expect(batch, range(len(batch.ids)))
            (forward.losses(model, batch).sum() / divisor).backward()
            recorder.finish(epoch=1, step=step, lr=0.0)
        recorder.commit(1)
    return GradientLedger(store)


@contextlib.contextmanager
def _activations_only(model: PreTrainedModel) -> Iterator[None]:
    """Meanwhile the backward pass reaches activations, which is all that is recorded, and no weights.

    That saves a third of a pass's products, and leaves `.grad` alone.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    handles = [
        m.register_forward_hook(lambda _m, _inputs, output: output.requires_grad_()) for m in embeddings
    ]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for handle in handles:
            handle.remove()
