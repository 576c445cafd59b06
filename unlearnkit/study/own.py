"""A model and facts of one's own, from nothing to data that the report reads: what notebook 13 asks for.

It is the work of `make recipe` and of `make reproduce` for a few methods only: the same checks, and the same
cells. Imports no torch.
"""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearnkit import data, paths
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, unknown
from unlearnkit.study import collect, compare, plan, profiles, search, trials
from unlearnkit.study.cells import Cell
from unlearnkit.study.config import EXAMPLE, OWN_RECIPE, PUBLISHED
from unlearnkit.study.profiles import Profile
from unlearnkit.study.search import Tried

PROFILE = "quick"  # whose sizes the run has
# The example's persons, those whom no model is taught, and facts of each: others are more than a path scores.
PERSONS, STRANGERS, FACTS = 5, 2, 6


@dataclass(frozen=True)
class Own:
    """Which model is to forget what.

    profile  the run, with model, data, request and recipe
    folder   all that is made goes below it; None where `make reproduce` has made it, and no more is done
    """

    profile: Profile
    folder: Path | None = None

    @cached_property
    def arm(self) -> plan.Arm:
        """The model and its recipe, the facts by seed and whom to forget."""
        return plan.arms(self.profile)[0]

    @property
    def model(self) -> str:
        return self.profile["model"]

    def rates(self) -> list[Cell]:
        """The trainings that a search for a learning rate may make; none where the rate is given."""
        return search.cells_of(self.profile) if self.folder and self.profile["lr"] is None else []

    def methods(self, names: Sequence[str]) -> list[Cell]:
        """The cells that compare these methods."""
        return compare.chosen(self.profile, names)

    def options(self, method: str) -> dict[str, Any]:
        """What a method is given in the comparison; of one that takes steps, how many it may take."""
        chosen = trials.chosen(plan.family(self.model), method, self.arm.recipe)
        steps = trials.path_steps(method)
        return chosen | ({"steps": int(steps[-1])} if "steps" in trials.METHODS[method].options else {})


def begin(run: str, out: str, given: dict[str, Any]) -> Own:
    """A run of one's own that `make reproduce` has made; or, of the name "published", one to be made now.

    `given` are the run's parameters, of which "" and None are left out. Without model and data they are an
    example's, which is written to `out`, a new temporary folder if that is "". ConfigError for some of them.
    """
    if run != PUBLISHED:
        return Own(profiles.get(run))
    known = ("model", "data", "forget", "seeds_adamw", *OWN_RECIPE)
    if strange := [name for name in given if name not in known]:
        raise ConfigError(unknown("parameter", strange[0], sorted(known)))
    folder = paths.expanded(out) if out else temporary()
    folder.mkdir(parents=True, exist_ok=True)
    changed = {name: value for name, value in given.items() if value not in ("", None)}
    own = [name for name in ("model", "data", "forget") if name in changed]
    if not own:
        changed = example(folder) | changed
    elif len(own) < 3:
        missing = next(name for name in ("model", "data", "forget") if name not in own)
        raise ConfigError(f"{', '.join(own)} given, but not {missing}: give model, data and forget, or none")
    return Own(profiles.own(PROFILE, changed), folder.resolve())


def temporary() -> Path:
    """A new folder, which is deleted when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def example(folder: Path) -> dict[str, Any]:
    """Write a tiny model with random weights, and facts about a few invented persons; a run's parameters."""
    from unlearnkit.models import tiny  # here, since a plan needs no torch

    taught = [replace(e, split="retain") for e in data.dave() if e.split != "neighbour"]
    told = [*_some(taught, PERSONS), *_some(data.holdout(), STRANGERS)]
    data.save_jsonl(told, folder / "facts.jsonl")
    tiny.sketch(folder / "model", [e.text for e in told])
    given = {"model": str(folder / "model"), "data": str(folder / "facts.jsonl"), "forget": told[0].person}
    return given | EXAMPLE


def _some(facts: Sequence[Example], persons: int) -> list[Example]:
    """A few facts about each of the first persons."""
    names = list(dict.fromkeys(e.person for e in facts))[:persons]
    return [e for name in names for e in [f for f in facts if f.person == name][:FACTS]]


def searched(own: Own) -> tuple[Own, list[Tried]]:
    """The gentlest learning rate at which the model learns its facts, and all that were tried before it.

    ConfigError, with what to do, where none is enough. Without a search, nothing was tried.
    """
    if not own.rates():
        return own, []
    with paths.runs_below(own.folder), closing(search.search(own.profile)) as trainings:
        found = list(trainings)
    if not found[-1].enough:
        raise ConfigError(search.advice(found, own.arm.recipe["epochs"]))
    changed = own.profile.overrides | {"lr": found[-1].lr}
    return Own(profiles.get(PROFILE, changed), own.folder), found


def estimate(own: Own, names: Sequence[str]) -> dict[str, float]:
    """Seconds that what is missing of the comparison should take, by kind of cell, at the search's pace."""
    with paths.runs_below(own.folder):
        made = [cell for cell in search.cells_of(own.profile) if cell.is_made()]
        pace = sum(c.cost()["seconds"] for c in made) / sum(c.estimate_s for c in made) if made else 1.0
        found: dict[str, float] = {}
        for cell in [c for c in own.methods(names) if not c.done()]:
            kind = cell.title.partition(" (")[0]
            found[kind] = found.get(kind, 0.0) + pace * cell.estimate_s
    return found


def compared(own: Own, names: Sequence[str]) -> str:
    """Run what is missing of the comparison and write its data; returns the name of the run to be read."""
    if own.folder:
        with paths.runs_below(own.folder):
            cells = own.methods(names)
            for cell in cells:
                cell.run()
            collect.collect(own.profile, cells)
    return own.profile.name
