"""Gradient dot products between examples: from factors, from dense gradients, and as kronfluence has them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from unlearnkit import ledger
from unlearnkit.batching import Batch
from unlearnkit.bench import peers
from unlearnkit.bench.setting import Options, Setting, parts
from unlearnkit.bench.timing import chosen, interleaved, scratch, simple, summary

TRAIN, QUERIES = 32, 8  # all pairs of so many examples
PASSES, FACTORS, DENSE = "forward and backward", "factors", "dense loop"


def run(options: Options) -> dict:
    """Sides: the passes alone, capture with dots, a naive loop with dense dots, and kronfluence's scores."""
    setting = Setting.make(options)
    train, queries = setting.examples(1, TRAIN, "t"), setting.examples(2, QUERIES, "q")
    found: dict[str, torch.Tensor] = {}

    def batches() -> Iterator[Batch]:
        for batch in (train, queries):
            yield from parts(batch, setting.batch)

    def passes(_round: int) -> None:
        for batch in batches():
            setting.backward(batch)

    def factored(_round: int, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        book = ledger.record_batches(setting.model, list(batches()), folder, divisor=setting.batch)
        found[FACTORS] = book.dot(train.ids, queries.ids)

    def dense(_round: int) -> None:
        found[DENSE] = dense_dots(setting, train, queries)

    with scratch() as folder:
        every = {
            PASSES: simple(passes),
            FACTORS: simple(lambda number: factored(number, folder / "ledger")),
            DENSE: simple(dense),
            **peers.kronfluence(setting, train, queries, folder / "kronfluence"),
        }
        picked = {PASSES: every[PASSES]} | chosen(every, options.only)
        seconds, missing = interleaved(picked, options.rounds)
    result = summary(seconds, PASSES) | {"missing": missing, "pairs": [TRAIN, QUERIES]}
    if FACTORS in found and DENSE in found:
        ours, theirs = found[FACTORS].double(), found[DENSE].double()
        # Over all pairs, as for a gradient over its numbers: two nearly orthogonal gradients in float32 have
        # a dot product near zero, which no order of summation gives to four digits.
        result["relative_error"] = ((ours - theirs).norm() / theirs.norm()).item()
    return result


def dense_dots(setting: Setting, train: Batch, queries: Batch) -> torch.Tensor:
    """(train, queries) dot products of whole gradients, one backward pass an example."""
    kept = [setting.gradient(one) for one in parts(queries, 1)]
    rows = []
    for one in parts(train, 1):
        mine = setting.gradient(one)
        rows.append([sum((mine[n] * query[n]).sum().item() for n in mine) for query in kept])
    return torch.tensor(rows)
