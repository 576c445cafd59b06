"""A step of the study that notebooks build upon."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """What `study.stages(profile)` lists, in the order to run it.

    name        shown to people; unique within a run
    run         does the work and caches it; safe to kill and to call again
    estimate_s  expected seconds on two cores
    is_cached   whether everything `run` makes is there; must be quick and import no torch
    outputs     the small files that notebooks read (observations, not weights): a change of their
                content re-executes the notebooks
    group       the plan lists stages of one group in one line; "" lists the stage by its name
    chain       stages of one chain run in turn on one core, beside other chains; "" has all cores
    """

    name: str
    run: Callable[[], None]
    estimate_s: float
    is_cached: Callable[[], bool]
    outputs: tuple[Path, ...] = ()
    group: str = ""
    chain: str = ""

    def done(self) -> bool:
        """Whether nothing is left to run."""
        return all(path.is_file() for path in self.outputs) and self.is_cached()
