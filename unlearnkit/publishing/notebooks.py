"""Executes one notebook into a run's folder, and tells whether that is still to be done."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import paths, provenance
from .errors import ConfigError, UnlearnkitError
from .profiles import FIGURES, Profile, unknown_name
from .stage import Stage

SOURCES = paths.ROOT / "notebooks"
KERNEL = "python3"
CELL_SECONDS = 600  # a cell that takes longer has lost its kernel: notebooks read, the study computes
# Progress bars belong on the terminal, not into a report.
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class NotebookError(UnlearnkitError):
    """A notebook that failed; the message says where its traceback is."""


def select(wanted: str = "") -> list[str]:
    """Names of the project's notebooks in reading order, or the one that is `wanted` (a prefix will do)."""
    names = sorted(path.stem for path in SOURCES.glob("[0-9]*.ipynb"))
    if not names:
        raise ConfigError(f"there are no notebooks in {SOURCES}")
    wanted = Path(wanted).stem if wanted.endswith(".ipynb") else wanted
    chosen = [name for name in names if name == wanted] or [name for name in names if name.startswith(wanted)]
    if not chosen or (wanted and len(chosen) > 1):
        raise ConfigError(unknown_name("notebook", wanted, names))
    return chosen


def source(name: str) -> dict[str, Any]:
    """The notebook of that name as people edit it."""
    return json.loads((SOURCES / f"{name}.ipynb").read_text())


def parameters(name: str) -> dict[str, Any]:
    """Names and defaults of the parameters that a notebook declares."""
    return provenance.declared_parameters(source(name), f"{name}.ipynb")


def executed(name: str, profile: Profile) -> Path:
    """Where the executed copy goes. Beside it, NAME.failed.ipynb holds the traceback of a failure."""
    return profile.folder / "notebooks" / f"{name}.ipynb"


def failed(name: str, profile: Profile) -> Path:
    """Where a failing notebook is kept with its traceback, until it succeeds."""
    return executed(name, profile).with_suffix(".failed.ipynb")


def record(name: str, profile: Profile) -> dict[str, Any]:
    """What execution noted in the metadata of the executed copy; empty before the first success."""
    path = executed(name, profile)
    return json.loads(path.read_text())["metadata"]["unlearnkit"] if path.is_file() else {}


def injected(name: str, profile: Profile) -> str:
    """Assignments in the executed copy that overrule its parameters cell; "" where that cell holds."""
    notebook = json.loads(executed(name, profile).read_text())
    tagged = (cell for cell in notebook["cells"] if "injected-parameters" in cell["metadata"].get("tags", []))
    lines = [line.strip() for cell in tagged for line in "".join(cell["source"]).splitlines()]
    return ", ".join(line for line in lines if not line.startswith("#"))


def inputs(name: str, profile: Profile, stages: Iterable[Stage]) -> str:
    """Hash of all that the executed copy is made of.

    Beside what its results depend on these are its prose, the modules that draw, what the stages put
    out, the user's data file, and the benchmarks' results where it reads them.
    """
    notebook = source(name)
    modules = provenance.modules(provenance.code_cells(notebook))
    files = [path for stage in stages for path in stage.outputs]
    files += [Path(str(profile.parameters.get("data", "")))]
    if "unlearnkit.bench.results" in modules:
        files += sorted((paths.ROOT / "figures" / "benchmarks").glob("*.json"))
    return provenance.digest(
        [[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]],
        modules,
        profile.parameters | profile.values_for(name, parameters(name)),
        [provenance.file_digest(path) for path in files if path.is_file()],
    )


def is_current(name: str, profile: Profile, stages: Iterable[Stage]) -> bool:
    """Whether the executed copy and the figures that it made are there and up to date."""
    noted = record(name, profile)
    return (
        bool(noted)
        and not failed(name, profile).exists()
        and noted["inputs"] == inputs(name, profile, stages)
        and all((profile.folder / "figures" / figure).is_file() for figure in noted["figures"])
    )


def run(name: str, profile: Profile, stages: Iterable[Stage]) -> None:
    """Execute a notebook; its copy appears under its name only once it has succeeded.

    Raises NotebookError, with the traceback kept in NAME.failed.ipynb.
    """
    target = executed(name, profile)
    partial, drawn = target.with_name(f".{name}.partial.ipynb"), target.with_name(f".{name}.figures")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(drawn, ignore_errors=True)
    declared = parameters(name)
    values = profile.values_for(name, declared)
    noted = provenance.describe(source(name), profile, values) | {"inputs": inputs(name, profile, stages)}
    started = time.time()
    changed = {key: value for key, value in values.items() if value != declared[key]}
    _papermill(name, partial, changed, profile, {provenance.STAMP: noted["hash"], FIGURES: str(drawn)})
    noted["seconds"] = round(time.time() - started, 1)
    noted["figures"] = _move_files(drawn, profile.folder / "figures")
    result = json.loads(partial.read_text())
    result["metadata"]["unlearnkit"] = noted
    partial.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    os.replace(partial, target)
    failed(name, profile).unlink(missing_ok=True)


def _papermill(
    name: str, partial: Path, values: dict[str, Any], profile: Profile, variables: dict[str, str]
) -> None:
    import papermill  # here, since it takes seconds to import
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.log import logger
    from traitlets.config import Config

    logger.setLevel("ERROR")
    _write_kernelspec(profile.folder / "jupyter" / name, variables)

    def attempt() -> None:
        with tempfile.TemporaryDirectory(prefix="unlearnkit-") as sockets:  # else two share them
            # ipykernel 7 warns over TCP and at a slow shutdown.
            manager = {"transport": "ipc", "ip": f"{sockets}/kernel"}
            papermill.execute_notebook(
                SOURCES / f"{name}.ipynb",
                partial,
                values,
                kernel_name=KERNEL,
                language="python",
                progress_bar=False,
                cwd=profile.folder,
                config=Config({"KernelManager": manager}),
                shutdown_kernel="immediate",
                execution_timeout=CELL_SECONDS,
            )

    try:
        try:
            attempt()
        except CellTimeoutError:  # rarely, a kernel's reply is lost and Jupyter waits for it for ever
            attempt()
    except (PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        kept = failed(name, profile)
        os.replace(partial, kept)
        last_line = "its kernel died; was there enough memory?"
        if isinstance(error, PapermillExecutionError):
            last_line = f"{error.ename}: {error.evalue}".strip().splitlines()[-1]
        elif isinstance(error, CellTimeoutError):
            last_line = f"a cell gave no answer in {CELL_SECONDS} s, twice; notebooks only read"
        raise NotebookError(f"notebook {name} failed: {last_line}\n  traceback in {kept}") from None


def _write_kernelspec(jupyter: Path, variables: dict[str, str]) -> None:
    """A kernel of this very interpreter, found before any other that may be installed."""
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "env": QUIET | variables,
    }
    folder = jupyter / "kernels" / KERNEL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    os.environ["JUPYTER_PATH"] = str(jupyter)


def _move_files(source: Path, target: Path) -> list[str]:
    """Move a folder's files into another; their sorted paths there."""
    moved = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    for path in moved:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / path, target / path)
    shutil.rmtree(source, ignore_errors=True)
    return moved
