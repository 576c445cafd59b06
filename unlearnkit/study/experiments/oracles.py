"""Cells of the target: the model retrained without the forget set, and its close-up."""

import json

import pandas as pd

from unlearnkit import files, training, weights
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure, portrait
from unlearnkit.study.experiments.setting import groups_of
from unlearnkit.study.experiments.train import WEIGHTS, start, told


def oracle(cell: Cell) -> pd.DataFrame:
    """Retrained without the forget set, from the same start and in the same order of everything else.

    Where the configuration names another `order`, so do the rows; of such an oracle neither the weights nor
    what it said are kept. Where it wants no `close_up`, the facts' likelihood is all that there is.

    Influence in the oracle is taken with the gradients that the fine-tuning without it recorded.
    """
    config, (trained,) = cell.config, cell.needs
    facts, model, tokenizer, recipe = start(config, trained.needs)
    run = training.fine_tune(model, tokenizer, facts, recipe, exclude=config["forget"])
    if not config.get("close_up", True):
        rows = pd.concat([measure.facts(model, tokenizer, facts), told(model, run)])
        return rows.assign(method="oracle", layers="all")
    order = config.get("order", 1)
    book = GradientLedger.open(trained.folder / "ledger")  # of another model: compared, not applied
    rows, said = portrait.portrait(model, tokenizer, config, groups_of(config), book)
    rows = pd.concat([rows, told(model, run)]).assign(method="oracle", layers="all")
    if order > 1:
        return rows.assign(order=order)
    weights.save(cell.folder / WEIGHTS, weights.parameters(model))
    told_of = {"ids": config["forget"], "said": {"oracle": said}}
    files.write_text(cell.folder / "continuations.json", json.dumps(told_of))
    return rows
