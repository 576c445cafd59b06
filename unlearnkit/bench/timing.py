"""Interleaved timing, medians and quartiles, work in a child process, and what the machine was."""

import datetime
import gc
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import torch

from unlearnkit import paths
from unlearnkit.errors import ConfigError, UnlearnkitError

KEPT, HANDED_BACK = "kept", "handed back"


class Unavailable(UnlearnkitError):
    """A peer that is not installed or cannot do this work; the message says which and why."""


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    open    a context whose value is `turn(round)`; setting up and tidying up are not timed, a turn is
    pieces  equal pieces of work (steps) in a turn; seconds are given for one
    peer    the package that does it, "" for our own: a peer that fails is reported, not raised
    rounds  how many counted rounds it takes part in, the first ones; None for all
    """

    open: Callable[[], AbstractContextManager[Callable[[int], object]]]
    pieces: int = 1
    peer: str = ""
    rounds: int | None = None

    def takes_part(self, number: int) -> bool:
        """In round `number`, 0 being the warm-up, which a side that runs once does without."""
        return self.rounds is None or (self.rounds == 1) <= number <= self.rounds


def simple(turn: Callable[[int], object], **options) -> Side:
    """A side that needs no setting up."""

    @contextmanager
    def opened() -> Iterator[Callable[[int], object]]:
        yield turn

    return Side(opened, **options)


def chosen(sides: dict[str, Side], only: Iterable[str]) -> dict[str, Side]:
    """The sides named in `only`, or all. ConfigError for an unknown name."""
    if unknown := sorted(set(only) - set(sides)):
        raise ConfigError(f"unknown side {unknown[0]!r}; known: {', '.join(sides)}")
    return {name: side for name, side in sides.items() if not only or name in only}


def interleaved(sides: dict[str, Side], rounds: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each side, a value per round, and why sides are missing, by name.

    In every round the sides take one turn, one after the other, none with garbage to collect or a disk to
    wait for that the one before it left. Round 0 warms up and does not count; after it the time that is left
    is told on stderr. A peer that fails in any round is dropped.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    missing: dict[str, str] = {}
    for number in range(rounds + 1):
        left = 0.0
        for name, side in sides.items():
            if name in missing or not side.takes_part(number):
                continue
            try:
                with side.open() as turn:
                    gc.collect()
                    os.sync()
                    started = time.perf_counter()
                    turn(number)
                    taken = (time.perf_counter() - started) / side.pieces
            except Exception as error:
                if not side.peer:
                    raise
                missing[name] = reason(side.peer, error)
                seconds.pop(name)
                tell(f"  {name}: {missing[name]}")
                continue
            if number:
                seconds[name].append(taken)
            left += taken * side.pieces * (side.rounds or rounds)
            tell(f"  round {number} of {rounds}: {name}: {taken:.3g} s")
        if number == 0:
            tell(f"  warmed up; about {left / 60:.1f} min to go")
    return seconds, missing


def tell(text: str) -> None:
    """A line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def reason(peer: str, error: Exception) -> str:
    """Why a peer has no number here, with its version where it is installed."""
    try:
        name = f"{peer} {version(peer)}"
    except ModuleNotFoundError:
        return f"{peer} is not installed (make peers)"
    lines = str(error).strip().splitlines() or ["no message"]
    what = lines[0] if isinstance(error, Unavailable) else f"fails with {type(error).__name__}: {lines[0]}"
    return f"{name}: {what[:300]}"


def summary(seconds: dict[str, list[float]], baseline: str) -> dict:
    """Of each side: seconds of every round, their median and quartiles, and its ratio to the baseline.

    The ratio is the median, with quartiles, over rounds of the ratio within a round.
    """
    sides = {}
    for name, mine in seconds.items():
        # A side that left early is held against the baseline of its own rounds, the first ones.
        ratios = [a / b for a, b in zip(mine, seconds[baseline], strict=False)]
        sides[name] = {
            "seconds": mine,
            "median": statistics.median(mine),
            "quartiles": quartiles(mine),
            "ratio": statistics.median(ratios),
            "ratio_quartiles": quartiles(ratios),
        }
    return {"baseline": baseline, "sides": sides}


def quartiles(values: list[float]) -> list[float]:
    """First and third quartile, linearly interpolated; of one value, itself twice."""
    if len(values) < 2:
        return [values[0], values[0]]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]


@contextmanager
def scratch(needed: float = 0) -> Iterator[Path]:
    """A folder that goes afterwards. ConfigError if the disk has less room than `needed` bytes."""
    parent = paths.run_cache()
    parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(parent).free) < needed:
        raise ConfigError(
            f"this benchmark writes up to {needed / 1e9:.0f} GB and {parent} has {free / 1e9:.0f} GB left: "
            "free some, or set UNLEARNKIT_RUNS to a folder on a larger disk"
        )
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_child(function: Callable, *arguments):
    """The function's value, computed in a new process of its own: its memory is nobody else's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def provenance() -> dict:
    """What this was measured on: versions, threads, processor, commit, day."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "freed_memory": freed_memory(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers")},
    }


def _commit() -> str:
    """The commit, with "+" where files of the package differ from it."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(paths.ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--short", "unlearnkit"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def freed_memory() -> str:
    """What becomes of a large block that this process frees: glibc hands it back unless it is told otherwise.

    Who makes gigabytes anew in every step pays for their first touch in the one case and not in the other.
    """
    return KEPT if os.environ.get("MALLOC_MMAP_MAX_") == "0" else HANDED_BACK


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
