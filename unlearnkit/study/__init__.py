"""The study: which cells a profile runs, and the observations that came out.

    plan      arms, facts, targets, recipes: decided before looking
    grid      the cells of an arm: paths, controls, close-ups
    results   from observations to the numbers of the report

The cells run in `unlearnkit.experiments`, which knows nothing of this package: editing what is read off the
observations never repeats an experiment.
"""

from functools import cache

from unlearnkit.experiments.cells import Cell
from unlearnkit.profiles import Profile
from unlearnkit.stage import Stage
from unlearnkit.study import grid, plan

KINDS = {
    "train": "fine-tuning",
    "oracle": "oracles",
    "paths": "unlearning paths",
    "portraits": "close-ups",
    "alignment": "alignment of gradients",
    "tracin": "influence of all on all",
    "retrain": "retraining to validate influence",
    "rewind": "rewind identity",
}


def cells(profile: Profile) -> list[Cell]:
    """Every cell of a run, in order."""
    return list(_cells(profile.name, *sorted(profile.parameters.items())))


@cache
def _cells(name: str, *parameters: tuple) -> tuple[Cell, ...]:
    arms = plan.arms(Profile(name, "", dict(parameters)))
    found = [cell for arm in arms for cell in grid.cells(arm)]
    return tuple([*found, grid.rewind_cell(arms[0])])


def stages(profile: Profile) -> list[Stage]:
    """The run's cells, as the execution machinery lists and runs them."""
    return [_stage(cell) for cell in cells(profile)]


def _stage(cell: Cell) -> Stage:
    """A built-in model's seeds run side by side, a core each: two such models fit into the memory asked for.

    A user's own model, which may be large, takes all cores, one cell after the other.
    """
    chain = ""
    if cell.config["model"] in grid.BLOCKS and cell.config["model"] != "gpt2":
        alone = cell.stage in ("retrain", "rewind")
        chain = cell.title if alone else f"{cell.config['arm']}, seed {cell.config['seed']}"
    group = f"{KINDS[cell.stage]} ({cell.config['arm']})"
    return Stage(cell.title, cell.run, cell.estimate_s, cell.done, (cell.observations,), group, chain)


def summary(profile: Profile) -> str:
    """One screen of results, as Markdown, every number from the observations."""
    from unlearnkit.study import results  # here, since it imports pandas and scipy

    return results.summary(profile)
