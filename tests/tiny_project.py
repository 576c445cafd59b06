"""A throw-away project: the real machinery of execution around a trivial study and tiny notebooks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "unlearnkit"
MACHINERY = (
    *("__init__", "__main__", "errors", "paths", "profiles", "stage", "provenance"),
    *("notebooks", "chains", "execute", "report", "publish", "check"),
)
STUDY = '''
"""A study of one stage, which writes one number."""
import json
from . import numbers
from .stage import Stage

def stages(profile):
    output = profile.folder / "observations.json"
    def run():
        output.write_text(json.dumps({"value": numbers.value(profile["model"])}))
    return [Stage("observe", run, 1.0, output.is_file, (output,))]

def summary(profile):
    return "The value is " + (profile.folder / "observations.json").read_text()
'''
NUMBERS = '''
"""Numbers."""
def value(model):
    """Length of the name."""
    return len(model)  # a number
'''
PLOTS = '''
"""Draws: writes a file."""
def draw(profile, number):
    folder = profile.figures
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "value.csv").write_text(f"name,value,seconds\\nfirst,{number},{id(number)}\\n")
'''
README = "# Tiny\n<!-- results:start -->\nold\n<!-- results:end -->\nThe end.\n"
PARAMETERS = """
profile: str = "default"  # the run
scale: float = 1.0  # factor
""".strip()
READ = """
import json
from unlearnkit import profiles
run = profiles.get(profile)
number = json.loads((run.folder / "observations.json").read_text())["value"] * scale
""".strip()
DRAW = "from unlearnkit import numbers, plots\nplots.draw(run, number)\nnumber"


def cell(kind: str, source: str, name: str, **metadata: Any) -> dict[str, Any]:
    """A notebook cell."""
    made = {"cell_type": kind, "id": name, "metadata": metadata, "source": source}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def notebook(title: str, *code: str) -> dict[str, Any]:
    """A notebook with a title, a parameters cell and these code cells."""
    cells = [cell("markdown", f"# {title}\n\nProse.", "title")]
    cells.append(cell("code", PARAMETERS, "parameters", tags=["parameters"]))
    cells += [cell("code", source, f"code-{number}") for number, source in enumerate(code)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class Project:
    """A project tree and its command line."""

    def __init__(self, root: Path):
        self.root = root

    def create(self) -> "Project":
        """Write the tree: package, study, two notebooks, README."""
        package = self.root / "unlearnkit"
        package.mkdir(parents=True)
        for name in MACHINERY:
            shutil.copy(PACKAGE / f"{name}.py", package)
        shutil.copytree(PACKAGE / "site", package / "site", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in (("study", STUDY), ("numbers", NUMBERS), ("plots", PLOTS)):
            (package / f"{name}.py").write_text(text)
        (self.root / "README.md").write_text(README)
        self.write("00_overview", notebook("Overview", READ, "print('number', number)"))
        self.write("01_second", notebook("Second $x^2$", READ, DRAW))
        return self

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a notebook's source."""
        folder = self.root / "notebooks"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.ipynb").write_text(json.dumps(content))

    def replace(self, path: str, old: str, new: str) -> None:
        """Edit a file of the tree."""
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new))

    def environment(self) -> dict[str, str]:
        """Variables under which this tree's package is imported, here and in kernels."""
        drop = ("UNLEARNKIT_BUILD", "UNLEARNKIT_RUNS", "JUPYTER_PATH")
        kept = {key: value for key, value in os.environ.items() if key not in drop}
        return kept | {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str, program: tuple[str, ...] = ("-m", "unlearnkit")) -> subprocess.Popen:
        """Start a command and do not wait."""
        command = [sys.executable, *program, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment(), stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Output of a command, whose exit status must be `status`."""
        process = self.start(*arguments)
        output = process.communicate(timeout=120)[0]
        assert process.returncode == status, output
        return output

    def python(self, code: str) -> str:
        """Output of Python code that imports this tree's package."""
        process = self.start(program=("-c", code))
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
        return output.strip()

    def pending(self, run: str = "default") -> str:
        """What `reproduce` would run."""
        code = f"print(', '.join(execute.pending(profiles.get({run!r}))))"
        return self.python(f"from unlearnkit import execute, profiles; {code}")

    def executed(self, name: str, run: str = "default") -> Path:
        """An executed copy."""
        return self.root / "build" / run / "notebooks" / f"{name}.ipynb"

    def copy(self, root: Path) -> "Project":
        """The same tree elsewhere, with what it has executed."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("__pycache__"))
        return Project(root)
