"""From which code and parameters a notebook's outputs come, and whether these are still the current ones.

Execution (`notebooks.run`) writes a record into the notebook's metadata under `unlearnkit`. It holds
hashes of the code cells, of the parameters and of the modules that the results depend on, all without
comments, docstrings and layout; plots and tables are left out, because no number comes from them.
"""

import ast
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import profiles
from .errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
PRESENTATION = ("plots", "tables")
# Part of no result: this module, and the profiles, whose values are hashed as parameters instead.
UNCOUNTED = ("provenance", "profiles")
STAMP = "UNLEARNKIT_STAMP"  # environment variable that carries the record's hash into the kernel
SHOWN_VERSIONS = ("unlearnkit", "torch", "transformers", "numpy", "pandas", "scipy")

IMPORTED = time.monotonic()  # stands for the start of the notebook, which imports this at its top

Notebook = dict[str, Any]


def digest(*parts: Any) -> str:
    """A hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """A hash of a file's content."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size)


@cache
def _file_digest(path: Path, _mtime: int, _size: int) -> str:
    """Read once a process: every notebook asks for all observations."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def syntax(source: str) -> str:
    """The syntax tree of a source as text, free of comments, docstrings and layout.

    Unlike `ast.dump` the text does not depend on the Python version. A source with IPython magics has
    no such tree and is returned as it is.
    """
    try:
        return _canonical(ast.parse(source))
    except SyntaxError:
        return source


def code_cells(notebook: Notebook) -> list[str]:
    """Sources of the code cells, those that papermill injected left out."""
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"].get("tags", [])
    ]


def modules(sources: Iterable[str], package: Path = PACKAGE, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Hash by name of every module of `package` that `sources` import, directly or not.

    Imports inside functions count. Top-level modules named in `without` are neither listed nor followed.
    """
    found: dict[str, str] = {}
    waiting = [name for source in sources for name in _imports(source, package.name)]
    while waiting:
        name = waiting.pop()
        path = _module_file(name, package)
        if path is None or name in found or name.split(".")[1:2] in [[skip] for skip in without]:
            continue
        source = path.read_text()
        found[name] = digest(syntax(source))
        own_package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [own_package, name.rpartition(".")[0], *_imports(source, own_package)]
    return dict(sorted(found.items()))


def describe(notebook: Notebook, profile: profiles.Profile, values: dict[str, Any]) -> dict[str, Any]:
    """The record of a notebook: profile, parameters, hashes of cells and modules, and `hash` over them all.

    `values` are the values of the parameters that the notebook declares.
    """
    cells = code_cells(notebook)
    record = {
        "profile": profile.name,
        "parameters": profile.parameters | values,
        "cells": digest(*map(syntax, cells)),
        "modules": modules(cells, without=PRESENTATION + UNCOUNTED),
    }
    return record | {"hash": digest(record)}


def declared_parameters(notebook: Notebook, where: str = "the notebook") -> dict[str, Any]:
    """Names and defaults in the cell tagged `parameters`; each default must be a literal."""
    declared = {}
    for cell in notebook["cells"]:
        if "parameters" not in cell["metadata"].get("tags", []):
            continue
        for node in ast.parse("".join(cell["source"])).body:
            target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
            try:
                declared[target.id] = ast.literal_eval(node.value)
            except (AttributeError, ValueError) as error:
                line = ast.unparse(node)
                raise ConfigError(
                    f"{where}: `{line}` in the parameters cell is not `name: type = literal`"
                ) from error
    return declared


def is_stale(path: Path, source: Path | None = None) -> str:
    """Why the outputs of the executed notebook at `path` do not come from the current code; "" if they do.

    `source` is the notebook it was executed from, where that is another file. A change of comments,
    docstrings or prose makes nothing stale; nor does an edit of the outputs, which no hash covers.
    """
    recorded = json.loads(path.read_text())["metadata"].get("unlearnkit")
    if not recorded:
        return "it was never executed by `make reproduce`"
    current_source = json.loads((source or path).read_text())
    try:
        profile = profiles.get(recorded["profile"])
    except ConfigError:
        return f"the run {recorded['profile']!r} is no longer known"
    values = profile.values_for(path.stem, declared_parameters(current_source, path.name))
    current = describe(current_source, profile, values)
    reasons = []
    if recorded["cells"] != current["cells"]:
        reasons.append("its code cells changed")
    reasons += _differences(recorded["parameters"], current["parameters"], "parameter")
    reasons += _differences(recorded["modules"], current["modules"], "module")
    return "; ".join(reasons)


def stamp() -> None:
    """Display what this notebook ran on: versions, device, seconds, and the hash of code and parameters."""
    import torch
    from IPython.display import HTML, display

    seconds = time.monotonic() - IMPORTED
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    rows = {
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in SHOWN_VERSIONS)]
        ),
        "device": f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads",
        "time": f"under {_ceiling(seconds)}, without the cached stages",
        "code and parameters": os.environ.get(STAMP, "run by hand, not by `make reproduce`"),
    }
    cells = "".join(f"<tr><th style='text-align:left'>{key}</th><td>{rows[key]}</td></tr>" for key in rows)
    display(HTML(f"<table class='provenance'>{cells}</table>"))


def _ceiling(seconds: float) -> str:
    """A round bound, so that two runs of the same notebook show the same text."""
    for bound, text in ((10, "10 seconds"), (30, "30 seconds"), (60, "a minute"), (300, "5 minutes")):
        if seconds < bound:
            return text
    return f"{10 * (int(seconds) // 600 + 1)} minutes"


def _differences(recorded: dict[str, Any], current: dict[str, Any], kind: str) -> Iterator[str]:
    for name in sorted(recorded.keys() | current.keys()):
        if name not in current:
            yield f"{kind} {name} is gone"
        elif name not in recorded:
            yield f"{kind} {name} is new"
        elif recorded[name] != current[name]:
            yield f"{kind} {name} changed"


def _canonical(node: Any) -> str:
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        has_docstring = ast.get_docstring(node, clean=False) is not None
        fields["body"] = node.body[1:] if has_docstring else node.body
    # Empty fields are left out: later versions of Python add such fields to old nodes.
    text = ",".join(f"{key}={_canonical(value)}" for key, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({text})"


@cache
def _imports(source: str, own_package: str) -> tuple[str, ...]:
    """Full names that a source may import: `from a import b` yields both `a` and `a.b`."""
    try:
        tree = ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M))  # without IPython magics
    except SyntaxError:  # execution will show it
        return ()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = own_package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            found += [".".join(base), *(".".join([*base, alias.name]) for alias in node.names)]
    return tuple(found)


def _module_file(name: str, package: Path) -> Path | None:
    top, *rest = name.split(".")
    if top != package.name:
        return None
    base = package.joinpath(*rest)
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)
