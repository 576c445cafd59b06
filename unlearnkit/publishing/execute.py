"""`reproduce`: runs what is not yet up to date of stages, notebooks and report, in this order.

Every product carries the hash of what it was made of: a stage in its cache, a notebook in its metadata,
the report beside its pages. There is no database beside them that a kill could leave behind, so any
call, after any interruption, does exactly what is missing.
"""

import contextlib
import fcntl
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from . import notebooks, report
from .chains import Step, duration, return_memory, run_chains
from .errors import ConfigError
from .profiles import Profile, parse_value, record, unknown_name
from .stage import Stage

NOTEBOOK_SECONDS = 20.0  # expected before the first execution tells better


def stages(profile: Profile) -> list[Stage]:
    """The study's stages for a profile."""
    from . import study  # here, so that `--help` and errors in the options need none of it

    return study.stages(profile)


def parse_overrides(profile: Profile, assignments: list[str], names: list[str]) -> dict[str, object]:
    """The values in `name=value` texts. ConfigError for a name that neither profile nor notebooks know."""
    known = dict(profile.parameters)
    for name in names:
        known |= notebooks.parameters(name) | profile.notebooks.get(name, {})
    known.pop("profile", None)  # has an option of its own
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"parameter {assignment!r} is not of the form name=value")
        if name not in known:
            raise ConfigError(unknown_name("parameter", name, known))
        values[name] = parse_value(name, text, known[name])
    return values


def pending(profile: Profile) -> list[str]:
    """What of a run is missing or out of date; empty for a finished run."""
    found = stages(profile)
    steps = [*_stage_steps(found), *_notebook_steps(profile, found, notebooks.select())]
    return [step.label for step in steps if not step.done]


def reproduce(profile: Profile, notebook: str = "") -> None:
    """Bring a run up to date, telling first what it will do and last where to look.

    Raises NotebookError when a notebook failed; the others are executed all the same.
    """
    began = time.time()
    names = notebooks.select(notebook)
    profile.folder.mkdir(parents=True, exist_ok=True)
    with _alone(profile.folder):
        record(profile)
        found = stages(profile)
        for name in names:
            profile.values_for(name, notebooks.parameters(name))  # errors before hours, not after
        steps = _stage_steps(found)
        steps += _notebook_steps(profile, found, names, after=any(not step.done for step in steps))
        todo = [step for step in steps if not step.done]
        _print_plan(profile, steps)
        failures = _run(todo)
        summary = _summary(profile, afresh=bool(todo))
        if not report.is_current(profile):
            report.build(profile)
        print(f"\n{summary}\nThe report: {report.index(profile)}")
        print(f"Figures and tables: {profile.folder / 'figures'}")
        print(f"Done in {duration(time.time() - began)}")
    if failures:
        raise notebooks.NotebookError("\n".join(map(str, failures)))


def _stage_steps(found: list[Stage]) -> list[Step]:
    return [Step(s.name, s.done(), s.estimate_s, s.run, s.group, s.chain) for s in found]


def _notebook_steps(
    profile: Profile, found: list[Stage], names: list[str], after: bool = False
) -> list[Step]:
    """`after`: stages will run first, which may change what the notebooks read."""

    def step(name: str) -> Step:
        def run() -> None:
            with FileLock(profile.folder / f".{name}.lock"):  # a worker may outlive a killed run
                if not notebooks.is_current(name, profile, found):
                    notebooks.run(name, profile, found)

        seconds = notebooks.record(name, profile).get("seconds", NOTEBOOK_SECONDS)
        done = not after and notebooks.is_current(name, profile, found)
        return Step(f"notebook {name}", done, seconds, run, chain=name, kind="notebook")

    return [step(name) for name in names]


def _run(todo: list[Step]) -> list[notebooks.NotebookError]:
    """Run the steps: chains side by side, a core each, and everything else in turn."""
    failures, number = [], 0
    for (chained, _), steps in itertools.groupby(todo, key=lambda step: (bool(step.chain), step.kind)):
        steps = list(steps)
        if chained:
            failures += run_chains(steps, number, len(todo))
            number += len(steps)
            continue
        for step in steps:
            number += 1
            print(f"[{number}/{len(todo)}] {step.label} (about {duration(step.estimate_s)})", flush=True)
            began = time.time()
            step.run()
            return_memory()
            print(f"        took {duration(time.time() - began)}", flush=True)
    return failures


def _print_plan(profile: Profile, steps: list[Step]) -> None:
    print(f"Run {profile.name} (from nothing about {profile.takes} on 2 cores) in {profile.folder}")
    for name, value in profile.overrides.items():
        print(f"  with {name} = {value!r}")
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(step.group or step.label, []).append(step)
    for label, members in groups.items():
        left = [step for step in members if not step.done]
        times = f"{len(members)} × " if len(members) > 1 else ""
        some = f", {len(members) - len(left)} of them cached" if 0 < len(left) < len(members) else ""
        state = f"about {duration(_expected(left))}" if left else "cached"
        print(f"  {state:>12}  {times}{label}{some}")
    todo = [step for step in steps if not step.done]
    expected = f", about {duration(_expected(todo))}" if todo else ": everything is up to date"
    print(f"To do: {len(todo)} of {len(steps)}{expected}", flush=True)


def _expected(steps: list[Step]) -> float:
    """Seconds, with chains side by side."""
    return sum(step.estimate_s / (min(2, os.cpu_count() or 1) if step.chain else 1) for step in steps)


def _summary(profile: Profile, afresh: bool) -> str:
    path = profile.folder / "summary.md"
    if afresh or not path.is_file():
        from . import study

        partial = path.with_suffix(".partial")
        partial.write_text(study.summary(profile).strip() + "\n")
        os.replace(partial, path)
    return path.read_text()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two runs out of one folder. The lock ends with the process, however that ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another run is at work in {folder}; wait for it or end it") from None
        yield
