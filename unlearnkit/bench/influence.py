"""Gradient dot products between examples: from factors, and from dense gradients."""

import shutil
import tempfile
from pathlib import Path

import torch

from unlearnkit import ledger
from unlearnkit.bench.setting import Setting, interleaved, report

TRAIN, QUERIES = 32, 8  # all pairs of so many examples


def run(setting: Setting, rounds: int, only: list[str]) -> dict:
    """Sides: forward and backward alone, capture with dots, and a naive loop with dense dots."""
    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-bench-"))
    groups = {"train": setting.examples(1, TRAIN, "t"), "query": setting.examples(2, QUERIES, "q")}
    names = {k: list(b.ids) for k, b in groups.items()}
    found: dict[str, torch.Tensor] = {}

    def chunks():
        for batch in groups.values():
            for start in range(0, len(batch.ids), setting.batch):
                rows = slice(start, start + setting.batch)
                yield type(batch)(
                    batch.ids[rows], batch.input_ids[rows], batch.attention_mask[rows], batch.labels[rows]
                )

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
        queries = [_gradient(setting, groups["query"], k) for k in range(QUERIES)]
        rows = []
        for k in range(TRAIN):
            one = _gradient(setting, groups["train"], k)
            rows.append([sum((one[n] * q[n]).sum().item() for n in one) for q in queries])
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


def _gradient(setting: Setting, batch, k: int) -> dict[str, torch.Tensor]:
    rows = slice(k, k + 1)
    one = type(batch)(batch.ids[rows], batch.input_ids[rows], batch.attention_mask[rows], batch.labels[rows])
    setting.model.zero_grad(set_to_none=False)
    setting.backward(one)
    return {n: p.grad.clone() for n, p in setting.model.named_parameters()}
