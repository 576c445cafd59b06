"""`publish`: what the repository shows. A run's data becomes figures/data; the rest is made of it.

Notebooks are executed on the published data, as a reader would, and their outputs are what is committed.
"""

import base64
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from unlearnkit import files, paths
from unlearnkit.bench import cases
from unlearnkit.errors import UnlearnkitError
from unlearnkit.publishing import notebooks
from unlearnkit.report import Run, ch00_advice, ch08_ledger, ch11_verification, verdicts
from unlearnkit.study import collect, scheduler
from unlearnkit.study.config import PUBLISHED

LIMIT_BYTES = 1_000_000
DATA_BYTES = 20_000_000  # of figures/data in all
FIGURES = paths.ROOT / "figures"
OTHERS = ("benchmarks", "data", "full")  # below figures/: not from the notebooks
README = paths.ROOT / "README.md"
RESULTS = re.compile(r"(<!-- results:start -->\n).*?(<!-- results:end -->)", re.S)
COSTS = re.compile(r"(<!-- benchmarks:start -->\n).*?(<!-- benchmarks:end -->)", re.S)

VOLATILE_CELL_METADATA = ("papermill", "execution", "ExecuteTime")
WIDGET = "application/vnd.jupyter.widget-view+json"
TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
TEMPORARY_CELL = re.compile(r"/\S*/ipykernel_\d+/\d+\.py")
RANDOM_ID = re.compile(r"\bT_[0-9a-f]{5}(?=\b|_)|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class PublishError(UnlearnkitError):
    """What cannot be published; the message lists every reason."""


def publish(data: Path | None = None) -> str:
    """Execute every notebook on the published data and put the results in place; all of them or nothing.

    `data`, a finished run's data folder, becomes the published data first. PublishError for a file that is
    too large; NotebookError where a notebook fails (the committed ones stay, the data is the new one).
    """
    if data is not None:
        _publish_data(data)
    made = execute_all()
    written = {FIGURES / name: _figure(made / "figures" / name) for name in figures_in(made / "figures")}
    names = notebooks.select()
    for name in names:
        executed = json.loads((made / "notebooks" / f"{name}.ipynb").read_text())
        written[notebooks.SOURCES / f"{name}.ipynb"] = _packed(stabilise(executed))
    written[README] = _readme()
    if large := [path.name for path, content in written.items() if len(content) > LIMIT_BYTES]:
        raise PublishError(f"over the limit of {LIMIT_BYTES / 1e6:.0f} MB a file: {', '.join(large)}")
    for path, content in written.items():
        files.write_bytes(path, content)
    for stale in {FIGURES / name for name in figures_in(FIGURES)} - set(written):
        stale.unlink()
    return f"published {len(names)} notebooks and {len(written) - len(names) - 1} figures and tables"


def execute_all() -> Path:
    """Execute every notebook anew on the published data, into the folder returned; else NotebookError."""
    run = Run(PUBLISHED)
    shutil.rmtree(run.folder, ignore_errors=True)
    steps = [notebooks.step(name, run.folder, run.data, {}) for name in notebooks.select()]
    if failures := scheduler.run(steps):
        raise notebooks.NotebookError("\n".join(map(str, failures)))
    return run.folder


def figures_in(folder: Path) -> set[str]:
    """Figures, tables and claims of notebooks in a folder, relative to it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] not in OTHERS}


def _publish_data(data: Path) -> None:
    """Copy a run's data into figures/data, its manifest last."""
    collect.verify(data)
    sizes = {path.name: path.stat().st_size for path in data.iterdir()}
    if max(sizes.values()) > LIMIT_BYTES or sum(sizes.values()) > DATA_BYTES:
        raise PublishError(f"the data is too large: {sizes}")
    target = collect.published()
    (target / collect.MANIFEST).unlink(missing_ok=True)
    for stale in set(target.glob("*.csv.*")) - {target / name for name in sizes}:
        stale.unlink()
    for name in sorted(sizes, key=lambda name: name == collect.MANIFEST):
        files.write_bytes(target / name, (data / name).read_bytes())


def stabilise(notebook: dict[str, Any]) -> dict[str, Any]:
    """A copy of an executed notebook that is the same for every execution with the same results.

    Goes: papermill's and Jupyter's times, our own record, progress bars, widget models. Becomes regular:
    times of day, memory addresses, paths of this machine, random ids in outputs.
    """
    gone = ("papermill", "widgets", "unlearnkit")
    metadata = {k: v for k, v in notebook["metadata"].items() if k not in gone}
    metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python"}
    ids: dict[str, str] = {}
    cells = [_stable_cell(cell, ids) for cell in notebook["cells"]]
    return notebook | {"metadata": metadata, "cells": cells}


def stable_text(text: str, ids: dict[str, str]) -> str:
    """A text without times of day, addresses, paths of this machine; random ids numbered as in `ids`."""
    text = text.replace(f"{paths.ROOT}/", "").replace(str(paths.ROOT), ".")
    text = text.replace(os.path.expanduser("~"), "~")  # itself where there is no home
    text = TEMPORARY_CELL.sub("cell", TIME.sub("(time)", ADDRESS.sub("0x0", text)))
    return RANDOM_ID.sub(lambda match: ids.setdefault(match[0], f"id_{len(ids) + 1}"), text)


def _packed(notebook: dict[str, Any]) -> bytes:
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


def readme(text: str) -> str:
    """The README with its results and costs filled in from figures/. PublishError where it has no place."""
    if not RESULTS.search(text):
        raise PublishError("README.md has no <!-- results:start --> and <!-- results:end --> lines to fill")
    run = Run(PUBLISHED)
    notice = ch11_verification.interim(run)
    beside = ch00_advice.readme(run) + ch11_verification.readme(run)
    parts = [verdicts.summary(run).strip(), *([f"\n{notice}"] if notice and beside else ()), beside]
    summary = stable_text("\n".join(parts), {})
    costs = ch08_ledger.readme(cases.load())
    text = RESULTS.sub(lambda match: match[1] + summary + match[2], text)
    return COSTS.sub(lambda match: match[1] + costs + match[2], text)


def _readme() -> bytes:
    return readme(README.read_text() if README.is_file() else "").encode()
