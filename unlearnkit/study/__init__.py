"""The study: which cells a profile runs, and the observations that came out.

plan      facts, recipes, step grid, controls, cells: decided before looking
cells     content-hashed caching of one unit of work
train     cells that train: fine-tuning with its ledger, oracles, the rewind identity
unlearn   cells that unlearn and measure: paths and close-ups
measure   from a model to observation rows
results   from observations to the numbers of the report
"""

from importlib import import_module

from unlearnkit.profiles import Profile
from unlearnkit.stage import Stage
from unlearnkit.study import plan
from unlearnkit.study.cells import Cell


def cells(profile: Profile) -> list[Cell]:
    """Every cell of a run, in order."""
    found = []
    for arm in plan.arms(profile):
        found += plan.cells(arm)
        if arm.optimizer == "sgd":
            found.append(plan.rewind_cell(arm))
    return found


def stages(profile: Profile) -> list[Stage]:
    """The run's cells, as the execution machinery lists and runs them."""
    return [Stage(c.title, c.run, c.estimate_s, c.done, (c.observations,)) for c in cells(profile)]


def summary(profile: Profile) -> str:
    """One screen of results, as Markdown, every number from the observations."""
    # No import statement: the cells' hashes follow those, and reading results changes no cell.
    return import_module("unlearnkit.study.results").summary(profile)
