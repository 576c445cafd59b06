"""`publish`: promotes a finished default run to notebooks/, figures/ and the README.

A finished run of the profile `full` is published beside it: its claims, tables and figures, in figures/full/.
"""

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from . import execute, notebooks, paths, report
from .bench import report as bench_report
from .bench import results as bench_results
from .errors import UnlearnkitError
from .profiles import Profile

LIMIT_BYTES = 1_000_000
FIGURES = paths.ROOT / "figures"
BENCHMARKS = "benchmarks"  # below figures/: written by `bench`, not by a run
BESIDE = "full"  # the profile, and its folder below figures/
README = paths.ROOT / "README.md"
RESULTS = re.compile(r"(<!-- results:start -->\n).*?(<!-- results:end -->)", re.S)
COSTS = re.compile(r"(<!-- benchmarks:start -->\n).*?(<!-- benchmarks:end -->)", re.S)

VOLATILE_CELL_METADATA = ("papermill", "execution", "ExecuteTime")
VOLATILE_RECORD = ("inputs", "figures", "seconds")
WIDGET = "application/vnd.jupyter.widget-view+json"
TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
TEMPORARY_CELL = re.compile(r"/\S*/ipykernel_\d+/\d+\.py")
RANDOM_ID = re.compile(r"\bT_[0-9a-f]{5}(?=\b|_)|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class PublishError(UnlearnkitError):
    """A run that cannot be promoted; the message lists every reason."""


def publish(profile: Profile) -> str:
    """Write what is published of a run into the repository; all of it or nothing.

    Raises PublishError when the run is not finished, of another profile, or a file is too large.
    """
    if profile.name not in ("default", BESIDE):
        raise PublishError(f"only the default run and the run {BESIDE!r} are published, not {profile.name}")
    names, target = notebooks.select(), folder(profile)
    if problems := _problems(profile, names):
        raise PublishError("this run cannot be published:\n  " + "\n  ".join(problems))
    files = {target / figure: _figure(profile.folder / "figures" / figure) for figure in figures(profile)}
    said = f"published {len(files)} files of {target.relative_to(paths.ROOT)}/"
    if profile.name != BESIDE:
        files |= {notebooks.SOURCES / f"{name}.ipynb": _notebook(name, profile) for name in names}
        files[README] = _readme(profile)
        said += f" and {len(names)} notebooks"
    if large := [path.name for path, data in files.items() if len(data) > LIMIT_BYTES]:
        raise PublishError(f"over the limit of {LIMIT_BYTES / 1e6:.0f} MB a file: {', '.join(large)}")
    for path, data in files.items():
        _replace(path, data)
    for path in published_figures(target) - set(files):
        path.unlink()
    return said


def folder(profile: Profile) -> Path:
    """Where the published figures of a run are."""
    return FIGURES / BESIDE if profile.name == BESIDE else FIGURES


def figures(profile: Profile) -> list[str]:
    """Figures, tables and claims of a finished run that are published, relative to its figures folder.

    A run that is published beside the default one leaves out the SVG, which doubles the PNG.
    """
    made = {figure for name in notebooks.select() for figure in notebooks.record(name, profile)["figures"]}
    drawn = profile.folder / "figures"
    outputs = (path for stage in execute.stages(profile) for path in stage.outputs)
    made |= {str(path.relative_to(drawn)) for path in outputs if path.is_relative_to(drawn)}
    return sorted(name for name in made if profile.name != BESIDE or not name.endswith(".svg"))


def published_figures(target: Path) -> set[Path]:
    """Files in a run's `folder` that the run put there."""
    others = (FIGURES / BENCHMARKS, FIGURES / BESIDE)
    return {
        path
        for path in target.rglob("*")
        if path.is_file() and not any(path.is_relative_to(o) for o in others if o != target)
    }


def stabilise(notebook: dict[str, Any]) -> dict[str, Any]:
    """A copy of an executed notebook that is the same for every execution with the same results.

    Goes: papermill's and Jupyter's times, the record's machine-dependent part, progress bars, widget
    models. Becomes regular: times of day, memory addresses, paths of this machine, random ids in outputs.
    """
    metadata = {k: v for k, v in notebook["metadata"].items() if k not in ("papermill", "widgets")}
    metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python"}
    metadata["unlearnkit"] = {k: v for k, v in metadata["unlearnkit"].items() if k not in VOLATILE_RECORD}
    ids: dict[str, str] = {}
    cells = [_stable_cell(cell, ids) for cell in notebook["cells"]]
    return notebook | {"metadata": metadata, "cells": cells}


def stable_text(text: str, ids: dict[str, str]) -> str:
    """A text without times of day, addresses, paths of this machine; random ids numbered as in `ids`."""
    text = text.replace(f"{paths.ROOT}/", "").replace(str(paths.ROOT), ".").replace(str(Path.home()), "~")
    text = TEMPORARY_CELL.sub("cell", TIME.sub("(time)", ADDRESS.sub("0x0", text)))
    return RANDOM_ID.sub(lambda match: ids.setdefault(match[0], f"id_{len(ids) + 1}"), text)


def _problems(profile: Profile, names: list[str]) -> list[str]:
    missing = execute.pending(profile)
    problems = [f"{label} is missing or out of date: run `make reproduce`" for label in missing]
    for name in names:
        if notebooks.failed(name, profile).exists():
            problems.append(f"{name} failed: {notebooks.failed(name, profile)}")
        elif not notebooks.executed(name, profile).exists():
            continue
        elif reason := report.banner(name, profile):
            problems.append(f"{name}: {reason}")
        elif profile.name != BESIDE and (injected := notebooks.injected(name, profile)):
            problems.append(f"{name}: its parameters cell differs from the default profile: {injected}")
    return problems


def _notebook(name: str, profile: Profile) -> bytes:
    notebook = stabilise(json.loads(notebooks.executed(name, profile).read_text()))
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _stable_cell(cell: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    metadata = {k: v for k, v in cell["metadata"].items() if k not in VOLATILE_CELL_METADATA}
    if not metadata.get("tags", True):  # papermill adds an empty list
        del metadata["tags"]
    cell = cell | {"metadata": metadata}
    if cell["cell_type"] == "code":
        cell["outputs"] = [_stable(output, ids) for output in cell["outputs"] if not _is_passing(output)]
    return cell


def _is_passing(output: dict[str, Any]) -> bool:
    """Progress bars, and widgets, which show nothing without a kernel."""
    is_bar = output.get("name") == "stderr" and "\r" in "".join(output["text"])
    return is_bar or WIDGET in output.get("data", {})


def _stable(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _smaller(v) if k == "image/png" else _stable(v, ids) for k, v in value.items()}
    if isinstance(value, list):
        return [_stable(item, ids) for item in value]
    return stable_text(value, ids) if isinstance(value, str) else value


def _smaller(image: str) -> str:
    """A base64 PNG with a palette of 256 colours, all that a figure of lines needs: a third in size."""
    try:
        opened = Image.open(io.BytesIO(base64.b64decode(image)))
    except (OSError, ValueError):  # not an image that can be read: nothing to make smaller
        return image
    packed = io.BytesIO()
    opened.convert("RGB").quantize(256).save(packed, "PNG", optimize=True)
    found = base64.b64encode(packed.getvalue()).decode() + "\n"
    return min(image, found, key=len)


def _figure(path: Path) -> bytes:
    data = path.read_bytes()
    return data if path.suffix == ".png" else stable_text(data.decode(), {}).encode()


def _readme(profile: Profile) -> bytes:
    text = README.read_text() if README.is_file() else ""
    if not RESULTS.search(text):
        raise PublishError("README.md has no <!-- results:start --> and <!-- results:end --> lines to fill")
    summary = stable_text((profile.folder / "summary.md").read_text(), {})
    text = RESULTS.sub(lambda match: match[1] + summary + match[2], text)
    if COSTS.search(text):
        costs = bench_report.summary(bench_results.load())
        text = COSTS.sub(lambda match: match[1] + costs + match[2], text)
    return text.encode()


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)
