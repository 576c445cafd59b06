"""A training step that keeps every example's gradient, in several ways, against a plain step."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from unlearnkit import ledger
from unlearnkit.batching import Batch, example_loss
from unlearnkit.bench.setting import Setting, interleaved, parts, report
from unlearnkit.experiments.cells import peak_memory, reset_peak_memory

STEPS = 3  # consecutive steps a turn: the ledger's writer overlaps with the step after


def run(setting: Setting, rounds: int, only: list[str]) -> dict:
    """Sides: plain, ledger in three encodings, the naive loop, vmap, and Opacus where it is installed."""
    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-bench-"))
    optimizer = setting.optimizer()
    peaks: dict[str, int] = {}
    sizes: dict[str, float] = {}

    def side(name: str, steps: Callable[[int], int]) -> Callable[[int], None]:
        def turn(number: int) -> None:
            reset_peak_memory()
            steps(number)
            peaks[name] = max(peaks.get(name, 0), peak_memory())

        return turn

    def plain(number: int) -> None:
        for k in range(STEPS):
            setting.step(setting.examples(STEPS * number + k), optimizer)

    def with_ledger(dtype: str) -> Callable[[int], None]:
        def steps(number: int) -> None:
            path = folder / dtype
            shutil.rmtree(path, ignore_errors=True)
            chosen = [setting.examples(STEPS * number + k) for k in range(STEPS)]
            store = ledger.create(path, setting.model, [i for b in chosen for i in b.ids], {}, dtype)
            with ledger.Recorder(setting.model, store) as recorder:
                for k, batch in enumerate(chosen):
                    recorder.expect(batch, range(len(batch.ids)))
                    setting.model.zero_grad(set_to_none=False)
                    setting.backward(batch)
                    recorder.finish(1, k, optimizer.param_groups[0]["lr"])
                    optimizer.step()
                recorder.commit(1)
            sizes[dtype] = ledger.GradientLedger(store).info()["bytes_per_record"]

        return steps

    def naive(number: int) -> None:
        for k in range(STEPS):
            _naive_step(setting, setting.examples(STEPS * number + k), optimizer, folder)

    def vmapped(number: int) -> None:
        for k in range(STEPS):
            _vmap_step(setting, setting.examples(STEPS * number + k), optimizer)

    sides = {"plain": plain, **{f"ledger {d}": with_ledger(d) for d in ("float16", "float32")}}
    sides |= {"naive loop, safetensors": naive, "torch.func vmap, kept in memory": vmapped}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        seconds = interleaved({n: side(n, s) for n, s in sides.items()}, rounds, only)
    dense = sum(p.numel() for p in setting.model.parameters()) * 4
    return {
        **report(seconds, "plain"),
        "steps_a_turn": STEPS,
        "peak_bytes": peaks,
        "bytes_an_example": sizes,
        "dense_float32_bytes": dense,
        "smaller_than_dense": {d: dense / s for d, s in sizes.items()},
    }


def _naive_step(setting: Setting, batch: Batch, optimizer, folder: Path) -> None:
    """One backward per example, its whole gradient saved; their sum is the step's gradient."""
    total = {n: torch.zeros_like(p) for n, p in setting.model.named_parameters()}
    for one in parts(batch, 1):
        setting.model.zero_grad(set_to_none=False)
        setting.backward(one)
        grads = {n: p.grad for n, p in setting.model.named_parameters()}
        save_file(grads, folder / "naive.safetensors")
        for name, gradient in grads.items():
            total[name] += gradient
    for name, parameter in setting.model.named_parameters():
        parameter.grad.copy_(total[name])
    optimizer.step()


def _vmap_step(setting: Setting, batch: Batch, optimizer) -> None:
    """All dense per-example gradients at once by vectorised autodiff."""
    from torch.func import functional_call, grad, vmap

    parameters = {n: p.detach() for n, p in setting.model.named_parameters()}

    def loss(weights, input_ids, labels):
        inputs = {"input_ids": input_ids[None], "use_cache": False}
        logits = functional_call(setting.model, weights, (), inputs, tie_weights=True).logits
        return example_loss(logits, labels[None])[0] / setting.batch

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, batch.input_ids, batch.labels)
    for name, parameter in setting.model.named_parameters():
        parameter.grad.copy_(gradients[name].sum(0))
    optimizer.step()
