"""Gradient dot products between examples: from factors, from dense gradients, and as kronfluence has them."""

import shutil
from functools import partial

import torch

from unlearnkit import ledger
from unlearnkit.batching import Batch
from unlearnkit.bench import peers
from unlearnkit.bench.cases import DENSE, EKFAC, FACTORS, IDENTITY, PASSES, Options
from unlearnkit.bench.setting import Setting, parts
from unlearnkit.bench.timing import Side, compared, scratch, simple

TRAIN, QUERIES = 32, 8  # all pairs of so many examples


def influence(options: Options) -> dict:
    """Sides: the passes alone, capture with dots, a naive loop with dense dots, and kronfluence's scores."""
    setting = Setting.make(options)
    train, queries = setting.examples(1, TRAIN, "t"), setting.examples(2, QUERIES, "q")
    batches = [part for batch in (train, queries) for part in parts(batch, setting.batch)]
    found: dict[str, torch.Tensor] = {}

    def passes(_round: int) -> None:
        for batch in batches:
            setting.backward(batch)

    def factored(_round: int) -> None:
        shutil.rmtree(folder / "ledger", ignore_errors=True)
        book = ledger.record_batches(setting.model, batches, folder / "ledger", divisor=setting.batch)
        found[FACTORS] = book.dot(train.ids, queries.ids).double()

    def dense(_round: int) -> None:
        found[DENSE] = dense_dots(setting, train, queries).double()

    with scratch() as folder:
        scores = partial(peers.kronfluence, setting, train, queries, folder / "kronfluence")
        every = {
            PASSES: simple(passes),
            FACTORS: simple(factored),
            DENSE: simple(dense),
            IDENTITY: Side(partial(scores, "identity"), peer="kronfluence"),
            EKFAC: Side(partial(scores, "ekfac"), peer="kronfluence", rounds=1),  # too slow to repeat
        }
        result = compared(every, PASSES, options) | {"pairs": [TRAIN, QUERIES]}
    if FACTORS in found and DENSE in found:
        # Over all pairs, as for a gradient over its numbers: two nearly orthogonal gradients in float32 have
        # a dot product near zero, which no order of summation gives to four digits.
        result["relative_error"] = ((found[FACTORS] - found[DENSE]).norm() / found[DENSE].norm()).item()
    return result


def dense_dots(setting: Setting, train: Batch, queries: Batch) -> torch.Tensor:
    """(train, queries) dot products of whole gradients, one backward pass an example."""
    kept = [setting.gradient(one) for one in parts(queries, 1)]
    mine = (setting.gradient(one) for one in parts(train, 1))
    return torch.tensor([[sum((g[n] * k[n]).sum().item() for n in g) for k in kept] for g in mine])
