"""Cells of the study: pure functions of their configuration, cached by content.

A cell's folder is named by a hash of what its numbers depend on: its stage and that stage's version, the
methods it walks and theirs, its configuration (whole facts among it), the content of its model, and the cells
it needs. Neither source code nor names of files are part of it. A cell counts once `done.json` is in its
folder; a folder without one is unfinished and resumes what it can (a ledger). Imports no torch.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from unlearnkit import devices, files, paths
from unlearnkit.study import machine
from unlearnkit.study.versions import VERSION

OBSERVATIONS = "observations.csv"
DONE = "done.json"
TRAININGS = ("train", "recorded")  # stages whose folder has a ledger
BULK = ("ledger", "history", "updates", "shards", "oracles")  # what of such a folder may go once it is read
TOLD = (".csv", ".json")  # endings of what a cell tells; weights and ledgers are for the cells that need it
ELSEWHERE = "elsewhere"  # in `done.json`: another machine made it, and only what it tells is here


def digest(*parts: Any) -> str:
    """A hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Shared(list):
    """A long list that many cells have in their configuration, whole facts: hashed once for all."""

    @cached_property
    def digest(self) -> str:
        return digest(self)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A line of a run's plan.

    title       shown to people; unique within a run
    estimate_s  expected seconds on two cores
    group       the plan lists steps of one group in one line; "" lists the step by its title
    chain       steps of one chain run in turn on one core, beside other chains; "" has all cores
    """

    title: str
    estimate_s: float
    group: str = ""
    chain: str = ""

    def done(self) -> bool:
        """Whether nothing is left to run; quick, and without torch."""
        raise NotImplementedError

    def run(self) -> None:
        """Do the work unless it is done; safe to kill at any moment and to call again."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Task(Step):
    """A step of two functions."""

    is_done: Callable[[], bool]
    work: Callable[[], None]

    def done(self) -> bool:
        return self.is_done()

    def run(self) -> None:
        self.work()


@dataclass(frozen=True, kw_only=True)
class Cell(Step):
    """One unit of the study's work.

    stage      its kind, and the name of the function in `unlearnkit.study.experiments.<module>` that runs it
    arm, seed  labels of its rows; no part of the key
    config     JSON values: all that the result depends on, beside the versions and `needs`
    needs      cells whose folders it reads
    published  its rows are in the published data, and count
    restore    gives its published rows, or None, where these are all that a cell which needs it reads
    """

    stage: str
    module: str
    arm: str
    seed: int
    config: dict
    needs: tuple["Cell", ...] = ()
    published: bool = False
    restore: Callable[["Cell"], pd.DataFrame | None] | None = None

    @cached_property
    def key(self) -> str:
        """Content hash; the module says of what."""
        from unlearnkit.models.digest import digest as model_digest  # here: the report needs none of it
        from unlearnkit.unlearning import METHODS

        told = {
            k: v.digest if isinstance(v, Shared) else digest(v)
            for k, v in self.config.items()
            if k != "model"
        }
        walked = [spec["method"] for spec in self.config.get("paths", ())]
        methods = {name: METHODS[name].version for name in walked}
        model = model_digest(self.config["model"])
        return digest(self.stage, VERSION[self.stage], methods, model, told, [c.key for c in self.needs])

    @property
    def folder(self) -> Path:
        return paths.run_cache() / self.stage / self.key

    @property
    def observations(self) -> Path:
        return self.folder / OBSERVATIONS

    def on_disk(self) -> bool:
        """Whether this checkout's cache holds it, with all that a cell which needs it reads."""
        held = not self.bulk or (self.folder / self.bulk).is_dir()
        return held and self.is_made() and ELSEWHERE not in self.cost()

    @property
    def bulk(self) -> str:
        """The folder in its own that its readers need and that is deleted after them; "" for none."""
        return "ledger" if self.stage in TRAININGS else self.config.get("keeps", "")

    def is_made(self) -> bool:
        """Whether this checkout has made it, here or on a cluster, so that its folder has its rows."""
        return (self.folder / DONE).is_file()

    def done(self) -> bool:
        return self.published or self.is_made()

    def cost(self) -> dict:
        """Seconds and peak memory (bytes) of the run that made it."""
        return json.loads((self.folder / DONE).read_text())

    def told(self) -> dict[str, bytes]:
        """What its folder tells, by name of the file."""
        return {file.name: file.read_bytes() for file in self.folder.iterdir() if file.suffix in TOLD}

    def receive(self, told: dict[str, bytes]) -> None:
        """Put in place what another machine's folder tells; the file that makes it count comes last."""
        cost = json.loads(told[DONE]) | {ELSEWHERE: True}
        for name in told.keys() - {DONE}:
            files.write_bytes(self.folder / name, told[name])
        files.write_text(self.folder / DONE, json.dumps(cost))

    def run(self) -> None:
        if not self.done():
            self._compute()

    def _provide(self) -> None:
        """Its published rows where these are enough and here, else its work."""
        rows = self.restore(self) if self.restore else None
        if rows is None:
            self._compute()
        else:  # not made here: its folder has rows, and nothing says that it is done
            files.write_text(self.observations, rows.to_csv(index=False))

    def _compute(self) -> None:
        """The work itself, after what it needs and the cache lacks (a published cell, a deleted ledger)."""
        for need in self.needs:
            if not need.on_disk():
                need._provide()
        function = getattr(import_module(f"unlearnkit.study.experiments.{self.module}"), self.stage)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):  # a worker may outlive a killed run, and end its cell
            if self.on_disk():
                return
            (self.folder / DONE).unlink(missing_ok=True)  # a ledger that is half made again is unfinished
            machine.reset_peak_memory()
            started = time.perf_counter()
            frame: pd.DataFrame = function(self)
            seconds = time.perf_counter() - started
            files.write_text(self.observations, frame.to_csv(index=False))
            cost = {"seconds": round(seconds, 2), "peak_bytes": machine.peak_memory()}
            cost["made"] = machine.describe(devices.of(self.config))
            files.write_text(self.folder / DONE, json.dumps(cost))


@dataclass(frozen=True, kw_only=True)
class Tidy(Step):
    """Deletes a cell's bulk (ledgers, histories, weights) once every cell that reads it is done."""

    owner: Cell
    readers: tuple[Cell, ...]

    def done(self) -> bool:
        return self._is_read() and not any((self.owner.folder / part).is_dir() for part in BULK)

    def run(self) -> None:
        if self._is_read():
            for part in BULK:
                shutil.rmtree(self.owner.folder / part, ignore_errors=True)

    def _is_read(self) -> bool:
        return all(reader.done() for reader in self.readers)
