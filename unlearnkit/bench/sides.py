"""Ways to take training steps that keep every example's gradient, each a `Side` of a benchmark.

A turn that has the examples' gradients in memory returns them, each (B, *shape), by parameter.
"""

import shutil
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.func import functional_call, grad, vmap

from unlearnkit import ledger
from unlearnkit.batching import example_loss
from unlearnkit.bench import peers
from unlearnkit.bench.cases import BERGSON, LEDGERS, NAIVE, OPACUS, PLAIN, VMAP
from unlearnkit.bench.setting import LEARNING_RATE, Setting, parts
from unlearnkit.bench.timing import Side, Turns, simple

STEPS = 5  # consecutive steps a turn of the quick sides; at its end the ledger's disk is waited for


def every(setting: Setting, folder: Path, steps: int = STEPS) -> dict[str, Side]:
    """All sides by name: the plain step first, then ours, then the others."""
    return {
        PLAIN: plain(setting, steps),
        **{name: with_ledger(setting, folder / dtype, dtype, steps) for dtype, name in LEDGERS.items()},
        NAIVE: simple(partial(naive, setting, folder / "naive")),
        VMAP: Side(partial(vmapped, setting)),
        OPACUS: Side(partial(peers.opacus, setting), peer="opacus"),
        BERGSON: Side(partial(peers.bergson, setting, folder / "bergson"), peer="bergson"),
    }


def room(setting: Setting) -> int:
    """The most bytes that a side has on disk: twice a batch of dense gradients."""
    return 2 * setting.batch * setting.dense_bytes()


def plain(setting: Setting, steps: int = STEPS) -> Side:
    """Forward, backward, optimizer: nothing is kept."""

    def turn(number: int) -> None:
        for step in range(steps):
            setting.backward(setting.examples(steps * number + step))
            setting.step()

    return simple(turn, pieces=steps)


def with_ledger(setting: Setting, folder: Path, dtype: str, steps: int = STEPS) -> Side:
    """The same with the ledger, until everything is on disk; the disk is emptied after the turn."""

    @cache  # one recorder serves all turns, as it serves all steps of a training
    def recorder() -> ledger.Recorder:
        ids = [i for step in range(steps) for i in setting.examples(step).ids]
        return ledger.Recorder(setting.model, ledger.create(folder, setting.model, ids, {}, dtype))

    def turn(number: int) -> None:
        for step in range(steps):
            batch = setting.examples(steps * number + step)
            recorder().expect(batch, range(len(batch.ids)))
            setting.backward(batch)
            recorder().finish(number + 1, step, LEARNING_RATE)
            setting.step()
        recorder().commit(number + 1)

    @contextmanager
    def opened() -> Turns:
        with recorder():
            yield turn
        for shard in folder.glob("*.safetensors"):
            shard.unlink()

    return Side(opened, pieces=steps)


def naive(setting: Setting, folder: Path, number: int) -> None:
    """One backward an example, its whole gradient saved; their sum is the step's gradient."""
    total = {n: torch.zeros_like(p) for n, p in setting.model.named_parameters()}
    folder.mkdir(exist_ok=True)
    for one in parts(setting.examples(number), 1):
        setting.backward(one)
        mine = {n: p.grad for n, p in setting.model.named_parameters()}
        save_file(mine, folder / f"{one.ids[0]}.safetensors")
        for name, gradient in mine.items():
            total[name] += gradient
    setting.step(total)
    shutil.rmtree(folder)


@contextmanager
def vmapped(setting: Setting) -> Turns:
    """A step with the examples' gradients from vmap, kept in memory; eager attention, which vmap knows."""
    model, before = setting.model, setting.model.config._attn_implementation
    # A finished causal mask: making one looks at the values of tensors, which vmap does not allow.
    mask = torch.full((1, 1, setting.tokens, setting.tokens), torch.finfo(torch.float32).min).triu(1)
    mask = mask.to(model.device)

    def loss(weights, input_ids, labels):
        inputs = {"input_ids": input_ids[None], "attention_mask": mask, "use_cache": False}
        logits = functional_call(model, weights, (), inputs, tie_weights=True).logits
        return example_loss(logits, labels[None])[0] / setting.batch

    def turn(number: int) -> dict[str, torch.Tensor]:
        batch, weights = setting.examples(number), {n: p.detach() for n, p in model.named_parameters()}
        given = (t.to(model.device) for t in (batch.input_ids, batch.labels))
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights, *given)
        setting.step({n: g.sum(0) for n, g in gradients.items()})
        return gradients

    model.set_attn_implementation("eager")
    try:
        yield turn
    finally:
        model.set_attn_implementation(before)
