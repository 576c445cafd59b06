"""Cells of verification: oracles with every test made on them, and a method taken to matched forgetting."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
from transformers import PreTrainedModel

from unlearnkit import training, weights
from unlearnkit.errors import DivergenceError
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure
from unlearnkit.study.experiments.examine import Examined
from unlearnkit.study.experiments.imitate import imitate
from unlearnkit.study.experiments.matched import Approach
from unlearnkit.study.experiments.setting import groups_of
from unlearnkit.study.experiments.train import WEIGHTS, loaded, start, told
from unlearnkit.study.experiments.unlearn import Walk, mean_nll
from unlearnkit.study.tables import read as read_table


def verified_oracles(cell: Cell) -> pd.DataFrame:
    """Oracles of one world, retrained in the orders of the seeds `orders`: rows by `order`, from 1.

    The first is what unlearned models are held against, the second what margins are taken from. Where the
    configuration `keeps` weights, they lie in that folder. A cell may go on `after` so many of another.
    """
    config, rows, after = cell.config, [], cell.config.get("after", 0)
    groups, first = groups_of(config), _first(cell.needs[-1]) if after else None
    for order, seed in enumerate(config["orders"], start=1 + after):
        facts, model, tokenizer, recipe = start(config)
        recipe = replace(recipe, seed=seed)
        run = training.fine_tune(model, tokenizer, facts, recipe, exclude=config["forget"])
        one = Examined(model, tokenizer, groups, config, *_beside(cell), oracle=first)
        rows.append(pd.concat([one.rows(), told(model, run)]).assign(order=order))
        if folder := config["keeps"]:
            weights.save(cell.folder / folder / f"{order}-{WEIGHTS}", weights.parameters(model))
            first = _first(cell)
    return pd.concat(rows).assign(method="oracle", layers="all")


def verified(cell: Cell) -> pd.DataFrame:
    """One method in one world, taken to where the forget facts are on the mean what they are to the oracle.

    `reached` tells whether it got there; else the model stands at the path's end. A path that `imitates`
    goes to no place, but to where it answers as the oracle.
    """
    config, (_, oracles) = cell.config, cell.needs
    (spec,), walk = config["paths"], Walk.from_cell(cell)
    known = read_table(oracles.observations)
    level = mean_nll(known[known["order"] == 1], config["forget"])
    first = _first(oracles)
    if "imitates" in spec:
        where = imitate(walk, first(), **spec["imitates"])
    else:
        way = Approach(walk, spec, config["forget"], level, **config["near"])
        try:
            result, reached = way.go()
        except DivergenceError:  # at the first step: there is no model to look at
            return pd.DataFrame(columns=[*measure.COLUMNS, "method"])
        where = {"norm": result.norm, "reached": reached, "seconds": result.seconds}
    one = Examined(walk.model, walk.tokenizer, walk.groups, config, *_beside(cell), first)
    layers = ", ".join(spec.get("parts", ["all"]))
    return one.rows().assign(method=spec["label"], layers=layers, **where)


def _beside(cell: Cell) -> tuple[Callable[[], PreTrainedModel], Callable[[], PreTrainedModel]]:
    """How to get the model at theta_0, and at theta_T."""
    trained = cell.needs[0].folder / WEIGHTS if cell.needs else Path()
    return partial(_loaded, cell.config), partial(_loaded, cell.config, trained)


def _first(oracles: Cell) -> Callable[[], PreTrainedModel] | None:
    """How to get the oracle that others are held against, where its weights are kept."""
    folder = oracles.config["keeps"]
    path = oracles.folder / folder / f"1-{WEIGHTS}"
    return partial(_loaded, oracles.config, path) if folder else None


def _loaded(config: dict, path: Path | None = None) -> PreTrainedModel:
    """The model of a configuration with its own weights, or with those of a file."""
    model, _ = loaded(config)
    if path is not None:
        weights.copy_into(path, {n: p.data for n, p in model.named_parameters()})
    return model
