"""Making ledgers: the description of a new one, and recording a model's gradients without training it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward, models
from unlearnkit.batching import batch_of
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
        "weights": {identity.START: identity.sketch(model)},
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


@torch.enable_grad()  # callers that change weights in place, like gradient ascent, have it off
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
    """Gradients of the model as it is, one epoch, no step taken: l_i / divisor for each example.

    Used for gradients at theta_0, for influence against the current model, and for tests.
    """
    store = create(path, model, [e.id for e in examples], {"epochs": 1, "loss_on": loss_on}, dtype)
    with Recorder(model, store) as recorder:
        for start in range(0, len(examples), batch_size):
            batch = batch_of(tokenizer, examples[start : start + batch_size], loss_on)
            recorder.expect(batch, range(len(batch.ids)))
            loss = forward.losses(model, batch).sum() / divisor
            loss.backward()
            recorder.finish(epoch=1, step=start // batch_size, lr=0.0)
        recorder.commit(1)
    model.zero_grad(set_to_none=False)
    return GradientLedger(store)
