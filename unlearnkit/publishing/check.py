"""`check`: are notebooks/ and figures/ what the current code makes? Numbers may differ as machines do."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import execute, notebooks, provenance, publish
from .errors import UnlearnkitError
from .profiles import Profile

# Training on another machine sums in another order. Differences beyond these are changes of a result.
RELATIVE, ABSOLUTE = 0.05, 0.01
MEASURED = ("seconds", "duration", "bytes_per_s")  # columns and keys of the machine, not of the study


class CheckError(UnlearnkitError):
    """What is stale or differs, a line each."""


def check(profile: Profile) -> str:
    """Compare the committed notebooks with the code, and figures/ with a finished run.

    Raises CheckError, which lists all faults.
    """
    problems = [f"notebooks/{name}.ipynb is stale: {why}" for name, why in stale_notebooks().items()]
    if execute.pending(profile):
        problems.append(f"no finished {profile.name} run to compare figures/ with: run `make reproduce`")
    else:
        problems += differences(publish.folder(profile), profile.folder / "figures", publish.figures(profile))
    if problems:
        raise CheckError("\n  ".join(["the published results are not those of the code", *problems]))
    return "notebooks/ and figures/ agree with the code and with the finished run"


def stale_notebooks() -> dict[str, str]:
    """Published notebooks whose outputs are not from the current code, with the reasons."""
    found = {name: provenance.is_stale(notebooks.SOURCES / f"{name}.ipynb") for name in notebooks.select()}
    return {name: why for name, why in found.items() if why}


def differences(published: Path, made: Path, figures: list[str]) -> Iterator[str]:
    """Figures that only one side has, and numbers in tables (CSV) and JSON beyond the tolerances."""
    there = {str(path.relative_to(published)) for path in publish.published_figures(published)}
    for name in sorted(there ^ set(figures)):
        yield f"figures/{name} is only {'published' if name in there else 'in the run'}"
    for name in sorted(there & set(figures)):
        read = {".csv": _table, ".json": _json}.get(Path(name).suffix)
        if read:
            for where in _differing(read(published / name), read(made / name)):
                yield f"figures/{name} differs at {where}"


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _differing(a: Any, b: Any, where: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            if not any(word in key for word in MEASURED):
                yield from _differing(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _differing(left, right, f"{where}/{index}")
    elif a != b and not _close(a, b):
        yield f"{where or '/'}: {_short(a)} published, {_short(b)} in the run"


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return False
    try:
        a, b = float(a), float(b)
    except (TypeError, ValueError):
        return False
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(a) and math.isnan(b))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
