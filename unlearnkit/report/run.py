"""A run as the report sees it: its data files, by arm. Reads nothing else, and imports no torch."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from unlearnkit import data, paths
from unlearnkit.devices import CPU
from unlearnkit.errors import DataError
from unlearnkit.study import collect, plan
from unlearnkit.study.config import DAMAGE_NATS, PUBLISHED


class Run:
    """The observations of one run, and how a reader wants them read.

    name    "published", or a run of your own: a profile's name, or that of a folder below build/
    damage  the reading point: nats that the retain facts have lost
    seeds   how many training seeds of each arm count; 0 for all
    margin  the smallest difference that matters, instead of each claim's own; 0 keeps those
    """

    def __init__(
        self, name: str = PUBLISHED, *, damage: float = DAMAGE_NATS, seeds: int = 0, margin: float = 0.0
    ):
        if damage <= 0 or seeds < 0 or margin < 0:
            raise DataError("damage must be positive, and seeds and margin must not be negative")
        self.name, self.damage, self.seeds, self.margin = name, damage, seeds, margin
        self.folder = paths.build() / name  # where figures and tables of notebooks go
        self.data = collect.published() if name == PUBLISHED else self.folder / "data"
        self.manifest = collect.manifest(self.data)
        self._tables: dict[str, pd.DataFrame] = {}

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @cached_property
    def arms(self) -> list["Arm"]:
        """The arms, the headline first."""
        facts = self.table("facts")
        return [_arm(self, told, facts) for told in self.manifest["arms"]]

    @cached_property
    def beside(self) -> list["Arm"]:
        """The arms of the study's variants (`study.variants`) that this run has."""
        facts = self.table("facts")
        return [_arm(self, told, facts) for told in self.manifest.get("variants", ())]

    @property
    def variants(self) -> dict[str, "Arm"]:
        """Those by their variant's name; of a variant with several models the first."""
        return {arm.variant: arm for arm in reversed(self.beside)}

    def arm(self, name: str) -> "Arm":
        """The arm of that name; DataError for another."""
        found = {arm.name: arm for arm in self.arms}
        if name not in found:
            raise DataError(f"this run has no arm {name!r}; it has: {', '.join(found)}")
        return found[name]

    def table(self, name: str) -> pd.DataFrame:
        """A data file, read once; not to be changed."""
        if name not in self._tables:
            self._tables[name] = collect.read(self.data, name)
        return self._tables[name]

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Of every cell: arm, seed, stage, title, seconds, peak_gb, device ("cpu", or a GPU's name)."""
        told = pd.DataFrame(self.manifest["cells"])
        device = [made.get("device", CPU) for made in told["made"]]
        return told.assign(peak_gb=told["peak_bytes"] / 1e9, device=device)[
            ["arm", "seed", "stage", "title", "seconds", "peak_gb", "device"]
        ]


@dataclass(frozen=True, eq=False)
class Arm(plan.Arm):
    """An arm of a run with its observations. Being compared by identity, results can be cached by arm."""

    run: Run = field(repr=False, kw_only=True)

    def observations(self, stage: str) -> pd.DataFrame:
        """All rows of a stage in this arm's seeds; without such cells no rows, but the usual columns."""
        rows = self.run.table(stage)
        if not len(rows):
            return pd.DataFrame(columns=["seed", "method", "layers", "example", "split", "metric", "value"])
        return rows[(rows["arm"] == self.name) & rows["seed"].isin(self.seeds)].drop(columns=["cell", "arm"])

    @cached_property
    def continuations(self) -> pd.DataFrame:
        """What seed 0's close-ups say about the forget facts: prompt, answer, a column a model."""
        first = self.settings[0]
        rows = self.run.table("continuations")
        rows = rows[(rows["arm"] == self.name) & (rows["seed"] == first.seed)]
        table = pd.DataFrame({m: own.set_index("example")["text"] for m, own in rows.groupby("model")})
        table = table.reindex(first.forget)
        facts = {e.id: e for e in first.facts}
        table.insert(0, "prompt", [facts[i].prompt for i in table.index])
        table.insert(1, "answer", [facts[i].answer for i in table.index])
        return table

    @property
    def target_of(self) -> dict[int, str]:
        """Whom each seed forgets."""
        return {s.seed: s.target for s in self.settings}


def _arm(run: Run, told: dict, facts: pd.DataFrame) -> Arm:
    world = "world" if "world" in facts else "target"  # data made when seeds shared facts has these by target
    examples = {
        name: {row.pop("id"): row for row in rows.drop(columns=world).to_dict("records")}
        for name, rows in facts.fillna("").groupby(world, sort=False)
    }
    settings = [_setting(s, examples[s[world]] | examples.get("", {})) for s in told["settings"]]
    chosen = settings[: run.seeds] if run.seeds else settings
    kept = {k: told[k] for k in ("model", "optimizer", "recipe", "whole_map")}
    return Arm(**kept, settings=tuple(chosen), variant=told.get("variant", ""), run=run)


def _setting(told: dict, rows: dict[str, dict]) -> plan.Setting:
    """A setting of the manifest, with its world's examples, by id, from the table of facts."""
    known = {i: _example(i, row) for i, row in rows.items()}
    held = tuple(known.pop(i) for i in told["holdout"])
    ids = {k: tuple(told[k]) for k in ("forget", "control", "fuzzy")}
    more = {k: tuple((name, value) for name, value in told.get(k, ())) for k in ("requests", "recipe")}
    return plan.Setting(
        seed=told["seed"], facts=tuple(known.values()), target=told["target"], holdout=held, **ids, **more
    )


def _example(id: str, row: dict) -> data.Example:
    texts = {k: tuple(json.loads(row[k])) for k in ("paraphrases", "mentions")}
    return data.Example(id=id, **row | texts)
