"""Cells of the variant with planted layers: the scores by which rules choose the layers to unlearn on."""

import math
from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from safetensors import safe_open

from unlearnkit import layers, weights
from unlearnkit.influence import inner
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments.setting import fine_tuned, present
from unlearnkit.study.experiments.train import WEIGHTS, loaded

Tensors = Mapping[str, torch.Tensor]


def layer_scores(cell: Cell) -> pd.DataFrame:
    """A score of every candidate by every rule of `config.LAYER_RULES`; needs the fine-tuning, then its base.

    Rows: metric (the rule), layers (the candidate), value. Gradients are sums over a group of facts. Rules
    may look at all layers: the ledger recorded those that did not move, too.
    """
    train, base = cell.needs
    config = cell.config
    model, tokenizer, book = fine_tuned(config, train)
    now = weights.parameters(model)
    public = weights.parameters(loaded(config)[0])
    with (
        present(config, model, tokenizer) as (forget, retain),
        safe_open(base.folder / WEIGHTS, "pt") as before,
        torch.no_grad(),
    ):
        rows = []
        for candidate, parts in config["candidates"].items():
            names = list(layers.parameters(model, parts))
            found = {
                "stored": book.sum(config["forget"], "first", parts),
                "forget": _sum(forget, parts),
                "retain": _sum(retain, parts),
                "weights": {n: now[n] for n in names},
                "way": {n: now[n] - public[n] for n in names},
                "taught": {n: now[n] - before.get_tensor(n).to(now[n].device) for n in names},
            }
            rows += [(rule, candidate, value) for rule, value in scores(found).items()]
    return pd.DataFrame(rows, columns=["metric", "layers", "value"])


def scores(found: Mapping[str, Tensors]) -> dict[str, float]:
    """A candidate's score by rule; the higher, the rather it is chosen.

    `found` holds, over the candidate's parameters: the forget set's `stored` first-epoch gradient, the
    present ones of `forget` and `retain`, the `weights`, the `way` that they came from the public model, and
    the way while the forget set was `taught`.
    """
    size = math.sqrt(sum(t.numel() for t in found["weights"].values()))
    stored, forget, retain = (_norm(found[k]) for k in ("stored", "forget", "retain"))
    return {
        "stored_gradient": stored / size,
        "present_gradient": forget / size,
        "gradient_to_weights": forget / _norm(found["weights"]),
        "gradient_to_retain": forget / retain,
        "stored_now": inner(found["stored"], found["forget"]) / size**2,
        "along_the_way": -inner(found["stored"], found["way"]) / (stored * _norm(found["way"])),
        "moved": _norm(found["taught"]) / size,
    }


def _sum(book: GradientLedger, parts: Iterable[str]) -> Tensors:
    return book.sum(book.example_ids, (1,), parts)


def _norm(tensors: Tensors) -> float:
    return math.sqrt(inner(tensors, tensors))
