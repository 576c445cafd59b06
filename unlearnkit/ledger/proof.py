"""The proof that what is recorded are a model's gradients: one small batch, held against autograd.

No list of architectures decides which models are accepted. Two examples of random tokens and unequal lengths
go through the model and the whole ledger, and every parameter's gradient of each is compared with that of
`torch.autograd.grad`. A parameter for which they differ is recorded by autograd, and the proof repeated.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from unlearnkit import devices, forward
from unlearnkit.batching import Batch, collate
from unlearnkit.errors import LedgerError, UnlearnkitError
from unlearnkit.layers import tags
from unlearnkit.ledger.book import GradientLedger
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.ledger.sites import Site, discover
from unlearnkit.ledger.store import Store

LENGTHS, LABELLED = (9, 6), (4, 5)  # tokens of the two examples, and how many of the last ones count
EXACT, ROUGH = 1e-5, 3e-2  # error as a share of a gradient's norm: of float32, and of types with 8 to 11 bits
FLOOR = 1e-7  # the same of the whole gradient's norm: what is less is rounding, as of a key's bias
PADDING = 1e-4  # relative change of a loss by what stands beside an example in its batch
_proven: dict[tuple, list[Site]] = {}  # by what decides it, for all unpatched models of this process


def proven(model: PreTrainedModel) -> list[Site]:
    """The sites to record, proven on this model as it is: with its hooks, adapters and frozen parameters.

    LedgerError where the model cannot be recorded exactly, naming the module: it looks ahead or at its
    neighbours, checkpoints its gradients, or cannot be run on a batch of texts.
    """
    devices.require_proven(model)
    if any(getattr(m, "gradient_checkpointing", False) for m in model.modules()):
        raise LedgerError(
            "gradient checkpointing is on, and would run the ledger's hooks twice: "
            "call model.gradient_checkpointing_disable() first"
        )
    if _patched(model):
        return _prove(model)
    key = _signature(model)
    if key not in _proven:
        _proven[key] = _prove(model)
    return _proven[key]


def by_autograd(sites: Sequence[Site]) -> list[Site]:
    """The sites whose every gradient costs a backward pass of its own."""
    return [site for site in sites if site.kind == "autograd"]


def _prove(model: PreTrainedModel) -> list[Site]:
    batch = _probe(model)
    try:
        with forward.evaluation_mode(model):
            _require_alone(model, batch)
            sites = discover(model, batch)
            if apart := _different(model, batch, sites):
                sites = discover(model, batch, apart)
                if wrong := _different(model, batch, sites):
                    raise LedgerError(
                        f"the recorded gradient of {wrong[0]!r} is not autograd's: freeze it "
                        "(requires_grad_(False)), or report this model"
                    )
    except UnlearnkitError:
        raise
    except Exception as error:
        raise LedgerError(
            f"{type(model).__name__} cannot be recorded: on a batch of two texts it fails with "
            f"{type(error).__name__}: {error}"
        ) from error
    return sites


def _patched(model: PreTrainedModel) -> bool:
    """Whether some module has a hook, or a forward of its own: no two models can be compared by it."""
    return any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in model.modules())


def _signature(model: PreTrainedModel) -> tuple:
    """All that decides whether a proof holds for another model object too, where neither is patched."""
    modules = [(name, type(m)) for name, m in model.named_modules()]
    parameters = [(n, p.shape, p.dtype, p.requires_grad) for n, p in model.named_parameters()]
    return type(model), str(model.config), str(model.device), tuple(modules), tuple(parameters)


def _probe(model: PreTrainedModel) -> Batch:
    """Two examples of random tokens, one of them padded, each with some tokens that do not count."""
    size = model.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    rows = []
    for length, labelled in zip(LENGTHS, LABELLED, strict=True):
        tokens = torch.randint(size // 4, size, (length,), generator=generator)
        tokens[1] = tokens[-1] = tokens[0]  # one token at several places
        rows.append((tokens.tolist(), [k >= length - labelled for k in range(length)]))
    return collate(rows, ["first", "second"], pad_id=0)


def _require_alone(model: PreTrainedModel, batch: Batch) -> None:
    """LedgerError where an example's loss depends on the others in its batch, or on padding."""
    with torch.no_grad():
        together = forward.losses(model, batch)
        for k, length in enumerate(LENGTHS):
            parts = (t[k : k + 1, :length] for t in (batch.input_ids, batch.attention_mask, batch.labels))
            alone = forward.losses(model, Batch((batch.ids[k],), *parts))
            if not torch.isfinite(alone).all():
                raise LedgerError(f"{type(model).__name__} gives a loss of {alone.item()} on random tokens")
            rough = PADDING if alone.dtype == model.dtype else ROUGH
            if (alone - together[k]).abs() > rough * alone.abs():
                raise LedgerError(
                    f"{type(model).__name__} is refused: the loss of an example is {alone.item():.5f} alone "
                    f"and {together[k].item():.5f} beside a longer one, so that its gradient is not its own"
                )


def _different(model: PreTrainedModel, batch: Batch, sites: Sequence[Site]) -> list[str]:
    """Parameters whose recorded gradient of some example is not autograd's."""
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    slots = [
        (s.parameter, s.role, sorted(names), list(parameters[s.parameter].shape))
        for s, names in tags(model).items()
    ]
    head = {"sites": [s.to_json() for s in sites], "slots": slots, "recipe": {}, "dtype": "float32"}
    found = {}
    with tempfile.TemporaryDirectory() as folder, torch.enable_grad():
        store = Store.create(Path(folder) / "proof", head | {"expected": list(batch.ids)})
        with Recorder(model, store) as recorder:
            recorder.expect(batch, range(len(batch.ids)))
            losses = forward.losses(model, batch)
            recorder.terms(losses)
            # Not backward(): the parameters' own .grad stays as it is.
            torch.autograd.grad(losses.sum(), list(parameters.values()), retain_graph=True, allow_unused=True)
            recorder.finish(1, 0, 0.0)
            recorder.end_epoch()
            recorder.slab.join()
            store.publish(1)
        book = GradientLedger(store, forward.device_of(model))
        for name, loss in zip(batch.ids, losses, strict=True):
            theirs = torch.autograd.grad(
                loss, list(parameters.values()), retain_graph=True, allow_unused=True
            )
            exact = dict(zip(parameters, theirs, strict=True))
            whole = torch.stack([g.float().norm() for g in theirs if g is not None]).norm()
            for parameter, ours in book.stream([name]):
                g = exact[parameter]
                g = torch.zeros_like(ours) if g is None else g.float()
                share = EXACT if parameters[parameter].dtype == torch.float32 else ROUGH
                if not (ours - g).norm() <= share * g.norm() + FLOOR * whole:
                    found[parameter] = None
    return list(found)
