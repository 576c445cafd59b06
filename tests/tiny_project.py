"""A throw-away project: the real machinery of execution around a trivial study and tiny notebooks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "unlearnkit"
STUDY_PARTS = (
    *("cells", "cluster", "collect", "config", "machine", "packing", "parameters", "profiles"),
    *("scheduler", "storage", "tables", "versions", "worker"),
)
MACHINERY = (
    *("__init__.py", "__main__.py", "devices.py", "errors.py", "files.py", "paths.py", "publishing"),
    *(f"study/{name}.py" for name in STUDY_PARTS),
)
STUDY = '''
"""A study of one cell, which writes one number."""
from unlearnkit.study import collect
from unlearnkit.study.cells import Cell

def steps(profile, fresh=False, keep_ledgers=False, on_cluster=False):
    config = {"model": profile["model"], "text": profile["data"] and open(profile["data"]).read()}
    cell = dict(title="observe", estimate_s=1.0, stage="train", module="observe", arm="an arm", seed=0)
    known = set() if fresh else collect.published_keys()
    return [Cell(**cell, config=config, published=Cell(**cell, config=config).key in known)]
'''
OBSERVE = '''
"""The experiment."""
import pandas as pd

def train(cell):
    value = len(cell.config["model"]) + 100 * len(cell.config["text"])
    return pd.DataFrame({"metric": ["nll", "not_kept"], "value": [value, -1.0]})
'''
PLAN = '''
"""One arm of one seed."""
from dataclasses import dataclass

@dataclass(frozen=True)
class Example:
    id: str = "a"
    paraphrases: tuple = ()
    mentions: tuple = ()

@dataclass
class Setting:
    seed: int = 0
    target: str = "Dave"
    facts: tuple = (Example(),)
    holdout: tuple = ()
    forget: tuple = ()
    control: tuple = ()
    fuzzy: tuple = ()
    requests: tuple = ()
    recipe: tuple = ()

@dataclass
class Arm:
    model: str
    optimizer: str = "adamw"
    recipe: tuple = ()
    whole_map: bool = False
    settings: tuple = (Setting(),)
    variant: str = ""

def arms(profile):
    return [Arm(profile["model"])]
'''
REPORT = '''
"""Reads the number."""
from unlearnkit import paths
from unlearnkit.study import collect

class Run:
    def __init__(self, name="published"):
        self.folder = paths.build() / name
        self.data = collect.published() if name == "published" else self.folder / "data"
        collect.manifest(self.data)  # or an error
        self.value = collect.read(self.data, "train")["value"].iloc[0]
'''
PLOTS = '''
"""Draws."""
from unlearnkit import files

SVG = """<svg xmlns="http://www.w3.org/2000/svg">
<!-- a line --><path d="M 10.0 {0} L 90.5 {0}"/></svg>"""

def draw(run, number):
    files.write_text(run.folder / "figures/tables/value.csv", f"name,value\\nfirst,{number}\\n")
    files.write_text(run.folder / "figures/value.svg", SVG.format(number))
'''
STUBS = {
    "study/__init__": STUDY,
    "study/plan": PLAN,
    "study/verified": "METRICS = ()\n",
    "study/variants": "def arms(profile):\n    return []\n",
    "study/inputs": "def check(profile):\n    return []\n",
    "study/experiments/__init__": "",
    "study/experiments/observe": OBSERVE,
    "models/__init__": 'def fetch(name):\n    print("fetched", name)\n',
    "models/digest": "def digest(name):\n    return name\n\n"
    'def is_settled(name):\n    return name != "abc"\n',
    "unlearning/__init__": "METHODS = {}\n",
    "claims/__init__": 'def digest():\n    return "registered"\n',
    "bench/__init__": "",
    "bench/cases": "def load():\n    return 4\n",
    "report/ch08_ledger": 'def readme(results):\n    return f"It costs {results}.\\n"\n',
    "report/ch00_advice": "def readme(run):\n    return ''\n",
    "report/ch11_verification": "def readme(run):\n    return ''\n\n\ndef interim(run):\n    return ''\n",
    "report/ch13_your_own": "def command(run, profile):\n    return ['--who', 'Ada Example']\n",
    "report/__init__": REPORT,
    "report/plots": PLOTS,
    "report/verdicts": 'def summary(run):\n    return f"The value is {run.value}."\n',
}
CALL = "    _sphinx(sources, site, pages[0].stem)\n"
PAGES = """    site.mkdir()
    for page in pages:
        (site / f"{page.stem}.html").write_text((sources / page.name).read_text())
"""
README = (
    "# Tiny\n<!-- results:start -->\nold\n<!-- results:end -->\n"
    "<!-- benchmarks:start -->\n<!-- benchmarks:end -->\nThe end.\n"
)
PARAMETERS = """
run: str = "published"  # the data
scale: float = 1.0  # factor
""".strip()
READ = "from unlearnkit.report import Run, plots\ndata = Run(run)\nnumber = float(data.value * scale)"
DRAW = "plots.draw(data, number)\nnumber"


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

    def create(self, site: bool = False) -> "Project":
        """Write the tree: package, study, two notebooks, README. Without `site`, no time goes into pages."""
        package = self.root / "unlearnkit"
        for name in MACHINERY:
            source, target = PACKAGE / name, package / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        for name, text in STUBS.items():
            path = package / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if not site:
            self.replace("unlearnkit/publishing/pages.py", CALL, PAGES)
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
        output = process.communicate(timeout=240)[0]
        assert process.returncode == status, output
        return output

    def python(self, code: str) -> str:
        """Output of Python code that imports this tree's package."""
        process = self.start(program=("-c", code))
        output = process.communicate(timeout=240)[0]
        assert process.returncode == 0, output
        return output.strip()

    def pending(self, run: str = "default") -> str:
        """What `reproduce` would run."""
        return self.python(
            "from unlearnkit.publishing import execute; from unlearnkit.study import profiles\n"
            f"steps = execute.steps_of(profiles.get({run!r}))\n"
            "print(', '.join(step.title for step in steps if not step.done()))"
        )

    def own_run(self) -> str:
        """Name of the one run with overridden values."""
        (found,) = (path.name for path in (self.root / "build").iterdir() if "-" in path.name)
        return found

    def executed(self, name: str, run: str = "default") -> Path:
        """An executed copy."""
        return self.root / "build" / run / "notebooks" / f"{name}.ipynb"

    def copy(self, root: Path) -> "Project":
        """The same tree elsewhere, with what it has executed."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("__pycache__"))
        return Project(root)
