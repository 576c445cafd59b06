"""Runs a plan's steps: chains of them side by side, a core or a cluster's worker each, all else in turn."""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from unlearnkit.errors import UnlearnkitError
from unlearnkit.study import machine
from unlearnkit.study.cells import Step

if TYPE_CHECKING:
    from unlearnkit.study.cluster import Cluster

TOLD_SECONDS = 10.0  # a chain's step that takes longer is told when it is done


def print_plan(steps: Sequence[Step]) -> None:
    """A line a group: how many, how long, what is cached; and what is to do in all."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(step.group or step.title, []).append(step)
    for label, members in groups.items():
        left = [step for step in members if not step.done()]
        times = f"{len(members)} × " if len(members) > 1 else ""
        some = f", {len(members) - len(left)} of them cached" if 0 < len(left) < len(members) else ""
        state = f"about {duration(expected(left))}" if left else "cached"
        print(f"  {state:>12}  {times}{label}{some}")
    todo = [step for step in steps if not step.done()]
    seconds = f", about {duration(expected(todo))}" if todo else ": everything is up to date"
    print(f"To do: {len(todo)} of {len(steps)}{seconds}", flush=True)


def expected(steps: Sequence[Step]) -> float:
    """Seconds, with chains side by side."""
    return sum(step.estimate_s / (min(2, os.cpu_count() or 1) if step.chain else 1) for step in steps)


def run(todo: Sequence[Step], cluster: "Cluster | None" = None) -> list[UnlearnkitError]:
    """Run the steps in order, neighbours with a chain side by side; the failures of chains.

    Chains run on the cluster's workers, if there is one, and everything else here.
    """
    failures, number = [], 0
    for chained, group in itertools.groupby(todo, key=lambda step: bool(step.chain)):
        steps = list(group)
        if chained:
            failures += _run_chains(steps, number, len(todo), cluster)
            number += len(steps)
            continue
        for step in steps:
            number += 1
            print(f"[{number}/{len(todo)}] {step.title} (about {duration(step.estimate_s)})", flush=True)
            began = time.time()
            step.run()
            machine.return_memory()
            print(f"        took {duration(time.time() - began)}", flush=True)
    return failures


def _run_chains(
    steps: list[Step], number: int, total: int, cluster: "Cluster | None"
) -> list[UnlearnkitError]:
    """Run chains, `number` steps of `total` being done.

    The longest begin first, so that the short ones fill up what those leave.
    """
    chains: dict[str, list[Step]] = {}
    for step in steps:
        chains.setdefault(step.chain, []).append(step)
    seconds = {name: sum(step.estimate_s for step in chain) for name, chain in chains.items()}
    ordered = {name: chains[name] for name in sorted(chains, key=lambda name: -seconds[name])}
    workers = max(1, min(len(chains), len(cluster.there()) if cluster else os.cpu_count() or 1))
    print(
        f"[{number + 1}-{number + len(steps)}/{total}] {len(steps)} steps in {len(chains)} chains, "
        f"{workers} at once (about {duration(sum(seconds.values()) / workers)})",
        flush=True,
    )
    began, done, whole, failures = time.time(), 0, sum(seconds.values()), []
    for name, failure in cluster.run(ordered) if cluster else _side_by_side(ordered, workers):
        done += len(chains[name])
        spent = whole - sum(seconds.values()) + seconds.pop(name)
        left = sum(seconds.values()) * (time.time() - began) / spent  # what the estimates turned out to be
        state = "FAILED" if failure else "done"
        print(f"        {done}/{len(steps)}  {name}: {state}, about {duration(left)} left", flush=True)
        failures += [failure] if failure else []
    print(f"        took {duration(time.time() - began)}", flush=True)
    return failures


def _side_by_side(
    chains: dict[str, list[Step]], workers: int
) -> Iterator[tuple[str, UnlearnkitError | None]]:
    """Run chains here, in worker processes of one thread each; each name with its failure, as they end."""
    import joblib  # here, since a call with nothing to do needs none of it

    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1), _quiet_bars():
        parallel = joblib.Parallel(return_as="generator_unordered")
        yield from parallel(joblib.delayed(_run_chain)(n, c, os.getpid()) for n, c in chains.items())


def _run_chain(name: str, steps: list[Step], parent: int) -> tuple[str, UnlearnkitError | None]:
    """Run a chain in a worker, which ends after the step at hand when its run was killed."""
    for step in steps:
        if parent not in (os.getppid(), os.getpid()):
            break
        began = time.time()
        try:
            step.run()
            machine.return_memory()
        except UnlearnkitError as error:
            return name, error
        if len(steps) > 1:
            tell(step, time.time() - began)
    return name, None


def tell(step: Step, seconds: float) -> None:
    """That a step of a chain is done, if it took long."""
    if seconds > TOLD_SECONDS:
        print(f"        {step.title}: took {duration(seconds)}", flush=True)


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
    """Seconds, minutes or hours, for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
