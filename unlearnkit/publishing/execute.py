"""`reproduce`: runs what is not yet up to date of cells, data, notebooks and report, in this order.

Every product carries the hash of what it was made of: a cell in its cache, the data in its manifest, a
notebook in its metadata, the report beside its pages. There is no database beside them that a kill could
leave behind, so any call, after any interruption, does exactly what is missing.
"""

import contextlib
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from unlearnkit import files, paths, study
from unlearnkit.errors import ConfigError
from unlearnkit.publishing import notebooks, pages
from unlearnkit.study import collect, scheduler
from unlearnkit.study.cells import Step, Task
from unlearnkit.study.parameters import parse_overrides
from unlearnkit.study.profiles import Profile, is_built_in, record

if TYPE_CHECKING:
    from unlearnkit.study.cluster import Cluster

DATA = "data files"  # title of the step between cells and notebooks


def overrides(profile: Profile, assignments: list[str], names: list[str]) -> dict[str, object]:
    """The values in `name=value` texts. ConfigError for a name that neither profile nor notebooks know."""
    known = dict(profile.parameters)
    for name in names:
        known |= notebooks.parameters(name)
    known.pop("run", None)  # has an option of its own
    return parse_overrides(known, assignments)


def steps_of(
    profile: Profile,
    fresh: bool = False,
    keep_ledgers: bool = False,
    notebook: str = "",
    on_cluster: bool = False,
) -> list:
    """All of a run's steps, in order."""
    cells = study.steps(profile, fresh, keep_ledgers, on_cluster)
    plain = [cell for cell in cells if isinstance(cell, study.Cell)]
    data = Task(
        title=DATA,
        estimate_s=0.02 * len(plain),
        is_done=lambda: collect.is_current(profile, plain),
        work=lambda: collect.collect(profile, plain),
    )
    values, folder = profile.parameters | profile.overrides | {"run": profile.name}, profile.folder
    names = notebooks.select(notebook)
    return [*cells, data, *(notebooks.step(name, folder, folder / "data", values) for name in names)]


def reproduce(
    profile: Profile,
    notebook: str = "",
    fresh: bool = False,
    keep_ledgers: bool = False,
    scheduled_at: str = "",
    dry_run: bool = False,
) -> None:
    """Bring a run up to date, telling first what it will do and last where to look.

    `fresh` computes every cell on this machine, also those of the published data. Cells run on the workers of
    the Dask scheduler at the address `scheduled_at`, where one is given. A dry run ends with the plan. What
    can be refused is refused before a folder is made. Raises the first failure, or a NotebookError for all
    failed notebooks; the others are executed all the same.
    """
    began = time.time()
    paths.require_writable(profile.folder, "UNLEARNKIT_BUILD")
    paths.require_writable(paths.run_cache(), "UNLEARNKIT_RUNS")
    steps = steps_of(profile, fresh, keep_ledgers, notebook, bool(scheduled_at))
    cluster = _cluster(scheduled_at, steps)
    _print_plan(profile, steps, _checked(profile, steps))
    if dry_run:
        return
    profile.folder.mkdir(parents=True, exist_ok=True)
    with _alone(profile.folder):
        record(profile)
        with cluster or contextlib.nullcontext():
            _compute([s for s in steps if not isinstance(s, notebooks.Notebook)], cluster)
        reading = [s for s in steps if isinstance(s, notebooks.Notebook)]
        failures: list[Exception] = scheduler.run([s for s in reading if not s.done()])
        if any(s.executed.is_file() for s in reading):
            failures += _told(profile, began, failures)
    if failures:
        raise notebooks.NotebookError("\n".join(map(str, failures)))


def _checked(profile: Profile, steps: list[Step]) -> list[str]:
    """Refuse a user's own facts or model where training could not end well; what to warn of."""
    if is_built_in(profile) or all(step.done() for step in steps if isinstance(step, study.Cell)):
        return []
    from unlearnkit.study import inputs  # here, since a call with nothing to do needs no torch

    return inputs.check(profile)


def _cluster(address: str, steps: list[Step]) -> "Cluster | None":
    """The workers that compute what is missing of the cells, if it is not to be done here."""
    if not address or all(step.done() for step in steps if isinstance(step, study.Cell)):
        return None
    from unlearnkit.study.cluster import Cluster  # here, since a local run needs none of it

    return Cluster(address)


def _print_plan(profile: Profile, steps: list[Step], warnings: list[str]) -> None:
    takes = "" if profile.overrides else f" (from nothing about {profile.takes} on 2 cores)"
    print(f"Run {profile.name}{takes} in {profile.folder}")
    for name, value in profile.overrides.items():
        print(f"  with {name} = {value!r}")
    if taken := sum(getattr(step, "published", False) for step in steps):
        print(f"  {taken} results are taken from figures/data; FRESH=1 computes them on this machine")
    scheduler.print_plan(steps)
    for warning in warnings:
        print(f"warning: {warning}", flush=True)


def _compute(steps: list[Step], cluster: "Cluster | None") -> None:
    """Run what is missing of the cells, and then of their data: a failed cell is told, not what lacks it."""
    for part in ([s for s in steps if s.title != DATA], [s for s in steps if s.title == DATA]):
        if failures := scheduler.run([s for s in part if not s.done()], cluster):
            raise failures[0]


def _told(profile: Profile, began: float, failures: list[Exception]) -> list[Exception]:
    """`_tell`; after failed notebooks its own failure, which may follow from theirs, is told after them."""
    try:
        _tell(profile, began)
    except Exception as error:
        if not failures:
            raise
        return [error]
    return []


def _tell(profile: Profile, began: float) -> None:
    """Build the report if it is not the notebooks'; print a screen of results and where to look."""
    summary = profile.folder / "summary.md"
    if not (pages.is_current(profile.folder) and summary.is_file()):
        pages.build(profile.folder)
        files.write_text(summary, _summary(profile).strip() + "\n")
    print(f"\n{summary.read_text()}")
    print(f"The report: {pages.index(profile.folder)}")
    print(f"Figures and tables: {profile.folder / 'figures'}")
    print(f"Done in {scheduler.duration(time.time() - began)}")


def _summary(profile: Profile) -> str:
    """One screen of results; of a user's own facts also how to get the model that forgets them, signed."""
    from unlearnkit.report import Run, ch13_your_own, verdicts  # here: a call with nothing to do needs none

    run = Run(profile.name)
    told = verdicts.summary(run)
    if is_built_in(profile) or not (words := ch13_your_own.command(run, profile)):
        return told
    line = shlex.join([sys.executable, "-m", "unlearnkit", "forget", *words])
    return f"{told}\n\nThe model without these facts, to hand over with a signed account:\n\n{line}"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two runs out of one folder. The lock ends with the process, however that ends."""
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"another run is at work in {folder}; wait for it or end it") from None
    with held:
        yield
