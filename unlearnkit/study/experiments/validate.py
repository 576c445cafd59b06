"""Cells that hold influence scores against retraining: the score of all on all, and models without some."""

import pandas as pd

from unlearnkit import influence, training
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure
from unlearnkit.study.experiments.setting import fine_tuned
from unlearnkit.study.experiments.train import start


def tracin(cell: Cell) -> pd.DataFrame:
    """TracIn of each trained fact on each forget and control fact: by epoch 1 alone, and over all."""
    (train,) = cell.needs
    config = cell.config
    _, _, book = fine_tuned(config, train)
    ids, queries = book.example_ids, [*config["forget"], *config["control"]]
    scores = {
        "tracin_first": influence.tracin(book, ids, queries, epochs=(1,)),
        "tracin_all": influence.tracin(book, ids, queries),
    }
    frames = [
        pd.DataFrame(values.numpy(), columns=queries)
        .assign(example=ids)
        .melt(id_vars="example", var_name="query")
        .assign(metric=name)
        for name, values in scores.items()
    ]
    return pd.concat(frames)


def retrain(cell: Cell) -> pd.DataFrame:
    """How well each fact is known by a model retrained without those in `exclude`."""
    config = cell.config
    facts, model, tokenizer, recipe = start(config)
    training.fine_tune(model, tokenizer, facts, recipe, exclude=config["exclude"])
    rows = measure.facts(model, tokenizer, facts)
    return rows[rows["metric"] == "nll"].assign(method="retrain", left_out=config["label"])
