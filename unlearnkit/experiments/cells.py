"""Cells of the study: pure functions of their configuration, cached by content.

A cell's folder is named by a hash of its configuration, of the source code that it runs (comments and
docstrings aside) and of the cells it needs. It counts once `done.json` is in it; a folder without one is an
unfinished cell, which resumes what it can (a ledger) and repeats the rest. Imports no torch.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import pandas as pd
from filelock import FileLock

from unlearnkit import paths, provenance

OBSERVATIONS = "observations.csv"


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    stage     its kind, and the name of the function in `unlearnkit.experiments.<module>` that runs it
    module    where that function is; its imports are the sources that the hash covers
    config    JSON values: all that the result depends on, beside sources and `needs`
    needs     cells whose folders it reads
    title     for people; estimate_s: expected seconds on two cores
    """

    stage: str
    module: str
    config: dict
    title: str
    estimate_s: float
    needs: tuple["Cell", ...] = ()

    @cached_property
    def key(self) -> str:
        """Content hash: configuration, sources, and the keys of what it needs."""
        parts = (self.stage, self.config, _sources(self.module), [c.key for c in self.needs])
        return provenance.digest(*parts)

    @property
    def folder(self) -> Path:
        return paths.run_cache() / self.stage / self.key

    @property
    def observations(self) -> Path:
        return self.folder / OBSERVATIONS

    def done(self) -> bool:
        return (self.folder / "done.json").is_file()

    def cost(self) -> dict:
        """Seconds and peak memory (bytes) of the run that made it."""
        return json.loads((self.folder / "done.json").read_text())

    def run(self) -> None:
        """Do the work unless it is done; safe to kill at any moment and to call again."""
        if self.done():
            return
        function: Callable[[Cell], pd.DataFrame] = getattr(
            import_module(f"unlearnkit.experiments.{self.module}"), self.stage
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):  # a worker may outlive a killed run, and end its cell
            if self.done():
                return
            reset_peak_memory()
            started = time.perf_counter()
            frame = function(self)
            seconds = time.perf_counter() - started
            cost = {"seconds": seconds, "peak_bytes": peak_memory(), "title": self.title}
            _replace(self.observations, frame.to_csv(index=False))
            _replace(self.folder / "done.json", json.dumps(cost | {"config": self.config}))


@cache
def _sources(module: str) -> dict[str, str]:
    without = provenance.PRESENTATION + provenance.UNCOUNTED
    return provenance.modules([f"import unlearnkit.experiments.{module}"], without=without)


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, path)


def reset_peak_memory() -> None:
    """Start the kernel's high-water mark of this process anew, where it allows that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak resident bytes since the reset (or since the start of the process)."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
