"""The study: which cells a profile runs, and the observations that came out.

    plan      facts, recipes, step grid, controls, cells: decided before looking
    results   from observations to the numbers of the report

The cells run in `unlearnkit.experiments`, which knows nothing of this package: editing what is read off the
observations never repeats an experiment.
"""

from unlearnkit.experiments.cells import Cell
from unlearnkit.profiles import Profile
from unlearnkit.stage import Stage
from unlearnkit.study import plan


def cells(profile: Profile) -> list[Cell]:
    """Every cell of a run, in order."""
    arms = plan.arms(profile)
    return [cell for arm in arms for cell in plan.cells(arm)] + [plan.rewind_cell(arms[0])]


def stages(profile: Profile) -> list[Stage]:
    """The run's cells, as the execution machinery lists and runs them."""
    return [Stage(c.title, c.run, c.estimate_s, c.done, (c.observations,)) for c in cells(profile)]


def summary(profile: Profile) -> str:
    """One screen of results, as Markdown, every number from the observations."""
    from unlearnkit.study import results  # here, since it imports pandas and scipy

    return results.summary(profile)
