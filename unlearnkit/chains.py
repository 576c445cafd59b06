"""Chains of steps in worker processes, a core each: how seeds and notebooks run side by side."""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import notebooks

TOLD_SECONDS = 10.0  # a chain's step that takes longer is told when it is done


@dataclass(frozen=True)
class Step:
    """A line of the plan: what, whether it is done, how long it takes and how it runs."""

    label: str
    done: bool
    estimate_s: float
    run: Callable[[], None]
    group: str = ""
    chain: str = ""  # of `Stage`; a notebook is one of its own
    kind: str = "step"


def run_chains(steps: list[Step], number: int, total: int) -> list[notebooks.NotebookError]:
    """Run chains in worker processes of one thread each; `number` steps of `total` are done. The failures.

    The longest begin first, so that the short ones fill up what those leave.
    """
    import joblib  # here, since a call with nothing to do needs none of it

    chains: dict[str, list[Step]] = {}
    for step in steps:
        chains.setdefault(step.chain, []).append(step)
    chains = dict(sorted(chains.items(), key=lambda item: -sum(step.estimate_s for step in item[1])))
    workers = min(len(chains), os.cpu_count() or 1)
    seconds = sum(step.estimate_s for step in steps) / workers
    seeds = f" for {len(chains)} seeds" if len(steps) > len(chains) else ""
    print(
        f"[{number + 1}-{number + len(steps)}/{total}] {len(steps)} {steps[0].kind}s{seeds}, "
        f"{workers} at once (about {duration(seconds)})",
        flush=True,
    )
    began, done, known = time.time(), 0, {n: sum(s.estimate_s for s in c) for n, c in chains.items()}
    failures = []
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1), _quiet_bars():
        run = joblib.Parallel(return_as="generator_unordered")
        for name, count, failure in run(
            joblib.delayed(_run_chain)(n, [(s.label, s.run) for s in c], os.getpid())
            for n, c in chains.items()
        ):
            done += count
            del known[name]
            left = sum(known.values())
            left *= (time.time() - began) / (seconds * workers - left)  # what the estimates turned out to be
            state = "FAILED" if failure else "done"
            print(f"        {done}/{len(steps)}  {name}: {state}, about {duration(left)} left", flush=True)
            failures += [failure] if failure else []
    print(f"        took {duration(time.time() - began)}", flush=True)
    return failures


def _run_chain(
    name: str, runs: list[tuple[str, Callable[[], None]]], parent: int
) -> tuple[str, int, notebooks.NotebookError | None]:
    """Run a chain's labelled steps in a worker, which ends after the one at hand when its run was killed."""
    for label, run in runs:
        if parent not in (os.getppid(), os.getpid()):
            break
        began = time.time()
        try:
            run()
            return_memory()
        except notebooks.NotebookError as error:
            return name, len(runs), error
        if time.time() - began > TOLD_SECONDS and len(runs) > 1:
            print(f"        {label}: took {duration(time.time() - began)}", flush=True)
    return name, len(runs), None


def return_memory() -> None:
    """Hand freed memory back, which glibc is told to keep (Makefile), so that each step's peak is its own."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _quiet_bars() -> Iterator[None]:
    """The bars of workers that run at once would garble each other."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE") if before is None else os.environ.update(TQDM_DISABLE=before)


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
