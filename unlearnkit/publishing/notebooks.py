"""Executes one notebook into a run's folder, and tells whether that is still to be done."""

import ast
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from unlearnkit import files, paths
from unlearnkit.errors import ConfigError, UnlearnkitError, unknown
from unlearnkit.study import collect
from unlearnkit.study.cells import Step, digest

SOURCES = paths.ROOT / "notebooks"
CELL_SECONDS = 600  # a cell that takes longer has lost its kernel: notebooks read, the study computes
SOCKET_BYTES = 103  # the longest name of a socket: 107 on Linux, 103 on macOS
EXPECTED_SECONDS = 15.0  # before the first execution tells better
# What the results of a notebook come from, beside its own cells and the data.
ROOMS = ("report", "stats", "claims", "bench/cases.py", "bench/bars.py", "publishing/playground.py")
READS = ("config", "compare", "compared", "diverse", "grid", "judged", "judged_on", "readings", "sequence")
READS += ("trials", "variants", "verified")  # modules of the study that hold what the report reads and how
ROOMS += tuple(f"study/{name}.py" for name in READS)
ROOMS += ("publishing/live.py", *(f"publishing/site/playground.{kind}" for kind in ("html", "css", "js")))


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
        raise ConfigError(unknown("notebook", wanted, names))
    return chosen


def source(name: str) -> dict[str, Any]:
    """The notebook of that name as people edit it."""
    return json.loads((SOURCES / f"{name}.ipynb").read_text())


def parameters(name: str) -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`; each default must be a literal."""
    declared = {}
    for cell in source(name)["cells"]:
        if "parameters" not in cell["metadata"].get("tags", []):
            continue
        for node in ast.parse("".join(cell["source"])).body:
            target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
            try:
                declared[target.id] = ast.literal_eval(node.value)
            except (AttributeError, ValueError) as error:
                line = ast.unparse(node)
                raise ConfigError(
                    f"{name}.ipynb: `{line}` in the parameters cell is not `name: type = literal`"
                ) from error
    return declared


@dataclass(frozen=True, kw_only=True)
class Notebook(Step):
    """One notebook on one run's data: `values` are those of its parameters that differ from their defaults.

    The executed copy goes to `folder`/notebooks, its figures and tables to `folder`/figures.
    """

    name: str
    folder: Path
    data: Path
    values: dict[str, Any]

    @property
    def executed(self) -> Path:
        """The executed copy. Beside it, NAME.failed.ipynb holds the traceback of a failure."""
        return self.folder / "notebooks" / f"{self.name}.ipynb"

    @property
    def failed(self) -> Path:
        return self.executed.with_suffix(".failed.ipynb")

    def record(self) -> dict[str, Any]:
        """What execution noted in the metadata of the copy; empty before the first success."""
        path = self.executed
        return json.loads(path.read_text())["metadata"].get("unlearnkit", {}) if path.is_file() else {}

    def inputs(self) -> str:
        """Hash of all that the executed copy is made of: cells, values, data, the report's code."""
        manifest = self.data / collect.MANIFEST
        code = [path for room in ROOMS for path in _python_files(paths.ROOT / "unlearnkit" / room)]
        code += sorted((paths.ROOT / "figures" / "benchmarks").glob("*.json"))
        cells = [[cell["cell_type"], "".join(cell["source"])] for cell in source(self.name)["cells"]]
        content = [path.read_text() for path in [*code, manifest] if path.is_file()]
        return digest(cells, self.values, content)

    def done(self) -> bool:
        return not self.failed.exists() and self.record().get("inputs") == self.inputs()

    def run(self) -> None:
        """Execute; the copy appears under its name only once it has succeeded, else NotebookError."""
        with FileLock(self.folder / f".{self.name}.lock"):  # a worker may outlive a killed run
            if not self.done():
                self._execute()

    def _execute(self) -> None:
        noted, started = {"inputs": self.inputs()}, time.time()
        with tempfile.TemporaryDirectory(prefix="unlearnkit-") as scratch:
            result = json.loads(self._papermill(Path(scratch)).read_text())
        noted["seconds"] = round(time.time() - started, 1)
        result["metadata"]["unlearnkit"] = noted
        files.write_text(self.executed, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        self.failed.unlink(missing_ok=True)

    def _papermill(self, scratch: Path) -> Path:
        """Execute into a folder of its own, where the kernel's sockets are too: else two share them."""
        import papermill  # here, since it takes seconds to import
        from nbclient.exceptions import CellTimeoutError, DeadKernelError
        from papermill.exceptions import PapermillExecutionError
        from papermill.log import logger
        from traitlets.config import Config

        logger.setLevel("ERROR")
        target = scratch / f"{self.name}.ipynb"
        # ipykernel 7 warns over TCP and at a slow shutdown.
        manager = {"transport": "ipc", "ip": f"{scratch}/kernel"} if _holds_sockets(scratch) else {}
        try:
            with paths.variables(_places(scratch)):
                papermill.execute_notebook(
                    SOURCES / f"{self.name}.ipynb",
                    target,
                    self.values,
                    kernel_name="python3",
                    language="python",
                    progress_bar=False,
                    cwd=self.folder,
                    config=Config({"KernelManager": manager}),
                    shutdown_kernel="immediate",
                    execution_timeout=CELL_SECONDS,
                )
        except PapermillExecutionError as error:
            reason = f"{error.ename}: {error.evalue}".strip().splitlines()[-1]
        except (DeadKernelError, CellTimeoutError):
            reason = "its kernel died or gave no answer; was there enough memory?"
        except RuntimeError as error:
            reason = f"no kernel could be started ({error})"
        else:
            return target
        begun = target if target.is_file() else SOURCES / target.name
        files.write_bytes(self.failed, begun.read_bytes())
        raise NotebookError(f"notebook {self.name} failed: {reason}\n  traceback in {self.failed}")


def _places(scratch: Path) -> dict[str, str]:
    """Variables of a kernel: what it puts aside goes with `scratch`, which a kernel that is killed cannot do.

    Jupyter must have a home folder, too: where the user has none, as in some containers, it is `scratch`.
    """
    homeless = os.path.expanduser("~") == "~"
    return {"TMPDIR": str(scratch)} | ({"HOME": str(scratch)} if homeless else {})


def _holds_sockets(folder: Path) -> bool:
    """Whether the system takes the names that a kernel's sockets would have there."""
    return len(os.fsencode(folder / "kernel-5")) <= SOCKET_BYTES


def _python_files(where: Path) -> list[Path]:
    return sorted(where.rglob("*.py")) if where.is_dir() else [where]


def step(name: str, folder: Path, data: Path, values: dict[str, Any]) -> Notebook:
    """A notebook as a step; of `values` count those that it declares and that differ from its defaults."""
    declared = parameters(name)
    changed = {k: values[k] for k, default in declared.items() if k in values and values[k] != default}
    return Notebook(
        title=f"notebook {name}",
        estimate_s=EXPECTED_SECONDS,
        group="notebooks",
        chain=name,
        name=name,
        folder=folder,
        data=data,
        values=changed,
    )
