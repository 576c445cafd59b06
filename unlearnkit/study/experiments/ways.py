"""What methods are given of a training beside its ledger: its history, and the same facts trained in shards.

Each is made when a path first asks for it, by training once more, and lies beside the training's cell.
"""

from collections.abc import Collection

from unlearnkit import training
from unlearnkit.errors import ModelError
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments.train import start


def history(train: Cell, updates: Collection[str]) -> training.History:
    """Checkpoints at every epoch's end, and the updates of the steps that held one of `updates`, summed.

    The sum is taken in the steps' order, so that `amnesiac` reads the bits that it would add up itself.
    """
    folder = train.folder / ("updates" if updates else "history")
    try:
        found = training.History.open(folder)
        if len(found) > found.recipe.epochs and set(updates) == found.updates_of:
            return found
    except ModelError:  # not there yet
        pass
    facts, model, tokenizer, recipe = start(train.config)
    training.fine_tune(model, tokenizer, facts, recipe, history=folder, updates=updates, summed=bool(updates))
    return training.History.open(folder)


def shards(train: Cell) -> training.Shards:
    """The training's facts and recipe, in shards and slices as `training.Shards` has them by default."""
    folder = train.folder / "shards"
    try:
        return training.Shards.open(folder)
    except ModelError:  # not there yet
        facts, model, tokenizer, recipe = start(train.config)
        return training.Shards.train(model, tokenizer, facts, recipe, folder)
