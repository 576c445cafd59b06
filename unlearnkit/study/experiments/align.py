"""Where stored gradients point: their inner products with each other, with today's, and with the way back."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open

from unlearnkit import weights
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments.setting import fine_tuned, present
from unlearnkit.study.experiments.train import WEIGHTS
from unlearnkit.unlearning.methods.adam_replay import replayed

ORACLE, NOW, RETAIN_NOW, WRONG = "oracle", "now", "retain_now", "wrong_person"
ADAM = {"adam_first": (1,), "adam_replay": "all"}  # epochs
PARTS = ("embedding.input", "embedding.output", "all-but-embedding")  # a tied matrix has two gradients


def alignment(cell: Cell) -> pd.DataFrame:
    """Gram matrix, for every elementary layer name, of these vectors over that layer's parameters.

    epoch_e      sum of the forget set's stored gradients of epoch e
    adam_first, adam_replay   the same of epoch 1, and of all, as the method `adam_replay` scales them (AdamW)
    wrong_person the control person's, of epoch 1
    now, retain_now   the present gradient of the forget and the scored retain facts at theta_T
    oracle       theta_oracle - theta_T: the way that perfect unlearning goes

    Rows: metric "gram", a, b, layers, value. A norm in a block counts for "norms" too.
    """
    train, oracle = cell.needs
    config = cell.config
    model, tokenizer, book = fine_tuned(config, train)
    sums: dict[tuple[str, str, str], float] = {}
    with present(config, model, tokenizer) as (forget, retain):
        now = {NOW: forget, RETAIN_NOW: retain}
        for layer, vectors in _by_layer(config, model, book, now, oracle.folder / WEIGHTS):
            names = list(vectors)
            flat = torch.stack([vectors[n].flatten() for n in names])
            gram = (flat @ flat.T).double()
            for i, a in enumerate(names):
                for j, b in enumerate(names):
                    sums[layer, a, b] = sums.get((layer, a, b), 0.0) + gram[i, j].item()
    rows = pd.DataFrame([(*key, value) for key, value in sums.items()], columns=["layers", "a", "b", "value"])
    return rows.assign(metric="gram")


def _by_layer(
    config: dict, model, book: GradientLedger, now: dict[str, GradientLedger], oracle: Path
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """(layer name, the vectors on one of its parameters), a parameter at a time."""
    parameters = weights.parameters(model)
    with safe_open(oracle, "pt") as target, torch.no_grad():
        for part in PARTS:
            if part in PARTS[:2] and not any(part in names for names in book.tags.values()):
                continue  # a frozen token matrix
            streams = {f"epoch_{e}": book.stream(config["forget"], (e,), part) for e in book.epochs}
            if config["recipe"]["optimizer"] == "adamw":
                for label, epochs in ADAM.items():
                    streams[label] = replayed(book, config["forget"], epochs, part)
            streams[WRONG] = book.stream(config["control"], (1,), part)
            streams |= {name: own.stream(own.example_ids, (1,), part) for name, own in now.items()}
            for pieces in zip(*streams.values(), strict=True):
                (name,) = {n for n, _ in pieces}
                vectors = dict(zip(streams, (v for _, v in pieces), strict=True))
                vectors[ORACLE] = target.get_tensor(name).to(parameters[name].device) - parameters[name]
                for layer in _layers_of(book, name, part):
                    yield layer, vectors


def _layers_of(book: GradientLedger, parameter: str, part: str) -> list[str]:
    """The elementary layer names of a parameter, in alphabetical order; of one role where it has two."""
    if part != "all-but-embedding":
        return [part]
    return sorted(set().union(*(names for slot, names in book.tags.items() if slot.parameter == parameter)))
