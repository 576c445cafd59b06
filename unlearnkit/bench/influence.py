"""Gradient dot products between examples: from factors, and from dense gradients."""

import shutil
import tempfile
from pathlib import Path

import torch

from unlearnkit import ledger
from unlearnkit.batching import Batch
from unlearnkit.bench.setting import Setting, interleaved, parts, report

TRAIN, QUERIES = 32, 8  # all pairs of so many examples


def run(setting: Setting, rounds: int, only: list[str]) -> dict:
    """Sides: forward and backward alone, capture with dots, and a naive loop with dense dots."""
    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-bench-"))
    groups = {"train": setting.examples(1, TRAIN, "t"), "query": setting.examples(2, QUERIES, "q")}
    names = {k: list(b.ids) for k, b in groups.items()}
    found: dict[str, torch.Tensor] = {}

    def chunks():
        for batch in groups.values():
            yield from parts(batch, setting.batch)

    def passes(_round: int) -> None:
        for batch in chunks():
            setting.model.zero_grad(set_to_none=False)
            setting.backward(batch)

    def factored(_round: int) -> None:
        shutil.rmtree(folder / "ledger", ignore_errors=True)
        everybody = names["train"] + names["query"]
        store = ledger.create(folder / "ledger", setting.model, everybody, {}, "float32")
        with ledger.Recorder(setting.model, store) as recorder:
            for step, batch in enumerate(chunks()):
                setting.model.zero_grad(set_to_none=False)
                recorder.expect(batch, range(len(batch.ids)))
                setting.backward(batch)
                recorder.finish(1, step, 0.0)
            recorder.commit(1)
        found["factored"] = ledger.GradientLedger(store).dot(names["train"], names["query"])

    def dense(_round: int) -> None:
        queries = [_gradient(setting, one) for one in parts(groups["query"], 1)]
        rows = []
        for one in parts(groups["train"], 1):
            mine = _gradient(setting, one)
            rows.append([sum((mine[n] * q[n]).sum().item() for n in mine) for q in queries])
        found["dense"] = torch.tensor(rows)

    sides = {"forward and backward": passes, "factors": factored, "dense loop": dense}
    try:
        seconds = interleaved(sides, rounds, only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = report(seconds, "forward and backward")
    if len(found) == 2:
        difference = (found["factored"] - found["dense"]).norm() / found["dense"].norm()
        result["relative_error"] = difference.item()
    return result | {"pairs": [TRAIN, QUERIES]}


def _gradient(setting: Setting, one: Batch) -> dict[str, torch.Tensor]:
    setting.model.zero_grad(set_to_none=False)
    setting.backward(one)
    return {n: p.grad.clone() for n, p in setting.model.named_parameters()}
