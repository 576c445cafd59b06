"""Ways to take training steps that keep every example's gradient, each as a `Side` of a benchmark."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.func import functional_call, grad, vmap

from unlearnkit import ledger
from unlearnkit.batching import Batch, example_loss
from unlearnkit.bench import peers
from unlearnkit.bench.setting import LEARNING_RATE, Setting, parts
from unlearnkit.bench.timing import Side, simple

PLAIN, NAIVE, VMAP, OPACUS, BERGSON = "plain step", "naive loop", "vmap", "Opacus", "bergson"
OURS = {"float16": "ledger fp16", "float32": "ledger fp32"}
STEPS = 5  # consecutive steps a turn of the quick sides; at its end the ledger's disk is waited for


def every(setting: Setting, folder: Path) -> dict[str, Side]:
    """All sides by name: the plain step first, then ours, then the others."""
    return {
        PLAIN: plain(setting),
        **{name: with_ledger(setting, folder, dtype) for dtype, name in OURS.items()},
        NAIVE: simple(lambda number: naive_step(setting, setting.examples(number), folder)),
        VMAP: vmapped(setting),
        OPACUS: peers.opacus(setting),
        BERGSON: peers.bergson(setting, folder / "bergson"),
    }


def plain(setting: Setting, steps: int = STEPS) -> Side:
    """Forward, backward, optimizer: nothing is kept."""
    optimizer = setting.optimizer()

    def turn(number: int) -> None:
        for step in range(steps):
            setting.backward(setting.examples(steps * number + step))
            optimizer.step()

    return simple(turn, pieces=steps)


def with_ledger(setting: Setting, folder: Path, dtype: str, steps: int = STEPS) -> Side:
    """The same with the ledger, until everything is on disk; the disk is emptied after the turn.

    One recorder serves all turns, as it serves all steps of a training.
    """
    optimizer = setting.optimizer()
    path = folder / dtype
    expected = setting.examples(0).ids
    state: dict[str, ledger.Recorder] = {}

    def turn(number: int) -> None:
        recorder = state["recorder"]
        for step in range(steps):
            record(setting, recorder, setting.examples(steps * number + step), number + 1, step)
            optimizer.step()
        recorder.commit(number + 1)

    @contextmanager
    def opened() -> Iterator[Callable[[int], None]]:
        if not state:
            state["recorder"] = ledger.Recorder(
                setting.model, ledger.create(path, setting.model, expected, {}, dtype)
            )
        with state["recorder"]:
            yield turn
        for shard in path.glob("*.safetensors"):
            shard.unlink()

    return Side(opened, pieces=steps)


def record(setting: Setting, recorder: ledger.Recorder, batch: Batch, epoch: int, step: int) -> None:
    """Forward and backward of one step, every example of it recorded."""
    recorder.expect(batch, range(len(batch.ids)))
    setting.backward(batch)
    recorder.finish(epoch, step, LEARNING_RATE)


def naive_step(setting: Setting, batch: Batch, folder: Path) -> None:
    """One backward an example, its whole gradient saved; their sum is the step's gradient."""
    names = dict(setting.model.named_parameters())
    total = {n: torch.zeros_like(p) for n, p in names.items()}
    kept = folder / "naive"
    kept.mkdir(exist_ok=True)
    for number, one in enumerate(parts(batch, 1)):
        setting.backward(one)
        save_file({n: p.grad for n, p in names.items()}, kept / f"{number}.safetensors")
        for name, parameter in names.items():
            total[name] += parameter.grad
    _step_with(setting, total)
    shutil.rmtree(kept)


def vmap_gradients(setting: Setting, batch: Batch) -> dict[str, torch.Tensor]:
    """All dense gradients at once by vectorised autodiff, each (B, *shape)."""
    parameters = {n: p.detach() for n, p in setting.model.named_parameters()}
    # A finished causal mask: making one looks at the values of tensors, which vmap does not allow.
    length = batch.input_ids.shape[1]
    mask = torch.full((1, 1, length, length), torch.finfo(torch.float32).min).triu(1)

    def loss(weights, input_ids, labels):
        inputs = {"input_ids": input_ids[None], "attention_mask": mask, "use_cache": False}
        logits = functional_call(setting.model, weights, (), inputs, tie_weights=True).logits
        return example_loss(logits, labels[None])[0] / setting.batch

    return vmap(grad(loss), in_dims=(None, 0, 0))(parameters, batch.input_ids, batch.labels)


def vmapped(setting: Setting) -> Side:
    """A step with the examples' gradients from vmap, kept in memory; eager attention, which vmap knows."""
    before = setting.model.config._attn_implementation

    def turn(number: int) -> None:
        gradients = vmap_gradients(setting, setting.examples(number))
        _step_with(setting, {n: g.sum(0) for n, g in gradients.items()})

    @contextmanager
    def opened() -> Iterator[Callable[[int], None]]:
        setting.model.set_attn_implementation("eager")
        try:
            yield turn
        finally:
            setting.model.set_attn_implementation(before)

    return Side(opened)


def _step_with(setting: Setting, gradient: dict[str, torch.Tensor]) -> None:
    """An optimizer step along a given gradient."""
    for name, parameter in setting.model.named_parameters():
        parameter.grad = gradient[name]
    setting.optimizer().step()
