"""Measuring: sides that take turns and their ratios, processes of their own, room, what the machine was.

Imports no torch, as those who read results need ratios too.
"""

import datetime
import gc
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np

from unlearnkit import paths
from unlearnkit.bench.cases import Options
from unlearnkit.devices import CPU
from unlearnkit.errors import ConfigError, UnlearnkitError
from unlearnkit.study import machine

Turn = Callable[[int], object]  # of the round that it is given
Turns = Iterator[Turn]  # what a function yields that sets up, yields its turn, and tidies up
# With these in its environment a process keeps the memory it has freed; as in the Makefile.
KEEP = MappingProxyType({"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)})
KEPT, HANDED_BACK = "kept", "handed back"


class Unavailable(UnlearnkitError):
    """A peer that cannot do this work; the message says why."""


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    open    a context whose value is the turn; only the turn is timed, not setting up or tidying
    pieces  equal pieces of work (steps) in a turn; seconds are given for one
    peer    the package that does it, "" for our own: a peer that fails is reported, not raised
    rounds  how many counted rounds it takes part in, the first ones; None for all
    """

    open: Callable[[], AbstractContextManager[Turn]]
    pieces: int = 1
    peer: str = ""
    rounds: int | None = None

    def takes_part(self, number: int) -> bool:
        """In round `number`, 0 being the warm-up, which a side that runs once does without."""
        return self.rounds is None or (self.rounds == 1) <= number <= self.rounds

    def seconds(self, number: int) -> float:
        """Seconds of a turn, with no garbage to collect or disk to wait for that another side left."""
        with self.open() as turn:
            gc.collect()
            os.sync()
            wait_for_gpu()
            started = time.perf_counter()
            turn(number)
            wait_for_gpu()
            return time.perf_counter() - started


def simple(turn: Turn, **options) -> Side:
    """A side that needs no setting up."""
    return Side(lambda: nullcontext(turn), **options)


def compared(sides: dict[str, Side], baseline: str, options: Options) -> dict:
    """`summary` of the baseline and the sides that are asked for, and why some are missing."""
    picked = {baseline: sides[baseline]} | chosen(sides, options.only)
    seconds, missing = interleaved(picked, options.rounds)
    return summary(seconds, baseline) | {"missing": missing}


def chosen(sides: dict[str, Side], only: tuple[str, ...]) -> dict[str, Side]:
    """The sides named in `only`, or all. ConfigError for an unknown name."""
    if unknown := sorted(set(only) - set(sides)):
        raise ConfigError(f"unknown side {unknown[0]!r}; known: {', '.join(sides)}")
    return {name: side for name, side in sides.items() if not only or name in only}


def interleaved(sides: dict[str, Side], rounds: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each side, a value per round, and why sides are missing, by name.

    In every round the sides take one turn, one after the other. Round 0 warms up and does not count; after
    it the time that is left is told on stderr. A peer that fails in any round is dropped.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    missing: dict[str, str] = {}
    left = 0.0
    for number in range(rounds + 1):
        for name, side in sides.items():
            if name in missing or not side.takes_part(number):
                continue
            try:
                taken = side.seconds(number)
            except Exception as error:
                missing[name] = reason(side.peer, error)
                del seconds[name]
                tell(f"  {name}: {missing[name]}")
                continue
            if number:
                seconds[name].append(taken / side.pieces)
            left += taken * (side.rounds or rounds)
            tell(f"  round {number} of {rounds}: {name}: {taken / side.pieces:.3g} s")
        if number == 0:
            tell(f"  warmed up; about {left / 60:.1f} min to go")
    return seconds, missing


def tell(text: str) -> None:
    """A line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def reason(peer: str, error: Exception) -> str:
    """Why a peer has no number here, with its version; an error of our own (peer "") is raised."""
    if not peer:
        raise error
    try:
        name = f"{peer} {version(peer)}"
    except ModuleNotFoundError:
        return f"{peer} is not installed (make peers)"
    line = (str(error).strip().splitlines() or ["no message"])[0]
    what = line if isinstance(error, Unavailable) else f"fails with {type(error).__name__}: {line}"
    return f"{name}: {what[:300]}"


def ratios(seconds: list[float], base: list[float]) -> list[float]:
    """Ratios within a round; a side that left early is held against the rounds it took part in, the first."""
    return [a / b for a, b in zip(seconds, base, strict=False)]


def summary(seconds: dict[str, list[float]], baseline: str) -> dict:
    """Of each side: seconds a round, and median and quartiles of them and of their ratios to the baseline."""
    sides = {}
    for name, mine in seconds.items():
        within = ratios(mine, seconds[baseline])
        own = {"seconds": mine, "median": statistics.median(mine), "quartiles": quartiles(mine)}
        sides[name] = own | {"ratio": statistics.median(within), "ratio_quartiles": quartiles(within)}
    return {"baseline": baseline, "sides": sides}


def quartiles(values: list[float]) -> list[float]:
    """First and third quartile, linearly interpolated."""
    return np.quantile(values, [0.25, 0.75]).tolist()


def wait_for_gpu() -> None:
    """Until a GPU that is in use has done all that it was told to do."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def provenance(device: str = CPU) -> dict:
    """What this was measured on: versions, threads, processor or GPU, commit, day."""
    import torch  # here: results are read without it

    return machine.describe(device) | {
        "date": datetime.date.today().isoformat(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "freed_memory": freed_memory(),
    }


def freed_memory() -> str:
    """What becomes of a large block that this process frees: glibc hands it back unless it is told otherwise.

    Who makes gigabytes anew in every step pays for their first touch in the one case and not in the other.
    """
    return KEPT if os.environ.get("MALLOC_MMAP_MAX_") == "0" else HANDED_BACK


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
    with TemporaryDirectory(prefix="bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def in_child(function: Callable, *arguments, environment: Mapping[str, str] = MappingProxyType({})):
    """The function's value, computed in a new process of its own: its memory is nobody else's.

    `environment` is added to the child's: glibc reads its settings once, at the start.
    """
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)
