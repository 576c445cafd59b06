"""Making ledgers: the description of a new one, and recording a model's gradients without training it."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward, models
from unlearnkit.batching import Batch, batch_of
from unlearnkit.data import Example, require_own_ids
from unlearnkit.errors import LedgerError
from unlearnkit.layers import tags
from unlearnkit.ledger import identity
from unlearnkit.ledger.book import GradientLedger
from unlearnkit.ledger.proof import by_autograd, proven
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.ledger.sites import Site
from unlearnkit.ledger.slab import DTYPES
from unlearnkit.ledger.store import Store

log = logging.getLogger("unlearnkit.ledger")

DTYPE = "float16"  # default encoding of the factors


def create(
    path: str | Path,
    model: PreTrainedModel,
    ids: Sequence[str],
    recipe: dict,
    dtype: str = DTYPE,
    texts: Mapping[str, str] | None = None,
    factors: bool = False,
) -> Store:
    """A new, empty ledger for this model, recipe and these examples.

    `texts` are the digests of what they say, by id; without, `identity.require_texts` has nothing to go by.
    Of long texts whole gradients are kept where these are smaller, unless `factors` are wanted everywhere.
    """
    if dtype not in DTYPES:
        raise LedgerError(f"ledger dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    named, sites = dict(model.named_parameters()), proven(model)
    _tell_of_autograd(Path(path), sites, len(ids), recipe.get("epochs", 1), DTYPES[dtype].itemsize)
    head = {
        "model": {"name": type(model).__name__, "fingerprint": models.fingerprint(model)},
        "weights": {identity.START: identity.digests(model)},
        "recipe": recipe,
        "dtype": dtype,
        "factors": factors,
        "expected": list(ids),
        "texts": dict(texts or {}),
        "sites": [site.to_json() for site in sites],
        "slots": [
            (slot.parameter, slot.role, sorted(names), list(named[slot.parameter].shape))
            for slot, names in tags(model).items()
        ],
    }
    return Store.create(Path(path), head)


def _tell_of_autograd(path: Path, sites: Sequence[Site], examples: int, epochs: int, width: int) -> None:
    """Say what sites of kind autograd cost; LedgerError where the disk has no room for them."""
    slow = by_autograd(sites)
    if not slow:
        return
    a_record = sum(site.width_in * site.width_out for site in slow) * width
    named = f"{slow[0].module}" + (f" and {len(slow) - 1} more" if len(slow) > 1 else "")
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    need, free = a_record * examples * epochs, shutil.disk_usage(there).free
    if need > free:
        raise LedgerError(
            f"no rule is known for the gradient of {named}; kept whole for each example they need "
            f"{need / 1e9:.1f} GB, and {there} has {free / 1e9:.1f} GB: freeze them (requires_grad_(False)), "
            "record fewer examples, or choose another folder"
        )
    log.warning(
        "no rule is known for the gradient of %s: a backward pass for each example, %.3g MB a record",
        named,
        a_record / 1e6,
    )


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
    factors: bool = False,
) -> GradientLedger:
    """Gradients of the model as it is, without dropout, one epoch, no step: l_i / divisor for each example.

    Used for gradients at theta_0, for influence against the current model, and for tests. `factors` as in
    `create`.
    """
    parts = [examples[start : start + batch_size] for start in range(0, len(examples), batch_size)]
    batches = [batch_of(tokenizer, part, loss_on) for part in parts]
    return record_batches(
        model, batches, path, loss_on=loss_on, divisor=divisor, dtype=dtype, factors=factors
    )


@contextlib.contextmanager
def recorded(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], **options
) -> Iterator[GradientLedger]:
    """A ledger of the examples' present gradients, with the options of `record`; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="unlearnkit-", ignore_cleanup_errors=True) as folder:
        yield record(model, tokenizer, examples, Path(folder) / "ledger", **options)


@torch.enable_grad()  # callers that change weights in place, like gradient ascent, have it off
def record_batches(
    model: PreTrainedModel,
    batches: Sequence[Batch],
    path: str | Path,
    *,
    loss_on: str = "answer",
    divisor: float = 1.0,
    dtype: str = "float32",
    factors: bool = False,
) -> GradientLedger:
    """`record` of finished batches; `loss_on` is what their labels were made for."""
    ids = [i for batch in batches for i in batch.ids]
    require_own_ids(ids, "the examples'")
    store = create(path, model, ids, {"epochs": 1, "loss_on": loss_on}, dtype, factors=factors)
    recorder = Recorder(model, store)
    with forward.evaluation_mode(model), _activations_only(recorder), recorder:
        for step, batch in enumerate(batches):
            recorder.expect(batch, range(len(batch.ids)))
            losses = forward.losses(model, batch)
            recorder.terms(losses / divisor)
            (losses.sum() / divisor).backward()
            recorder.finish(epoch=1, step=step, lr=0.0)
        recorder.commit(1)
    return GradientLedger(store, forward.device_of(model))


@contextlib.contextmanager
def _activations_only(recorder: Recorder) -> Iterator[None]:
    """Meanwhile the backward pass reaches activations, which is all that is recorded, and no weights.

    That saves a third of a pass's products, and leaves `.grad` alone. Sites of kind autograd need their own.
    """
    needed = set(recorder.by_autograd.values())
    spared = [p for p in recorder.model.parameters() if p.requires_grad and p not in needed]
    try:
        for parameter in spared:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in spared:
            parameter.requires_grad_(True)
