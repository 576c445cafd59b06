"""pyproject.toml, requirements.lock and environment.yml say the same, and name all that is imported."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from unlearnkit.paths import ROOT

OWN = {"unlearnkit", *(path.stem for path in Path(__file__).parent.rglob("*.py"))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["dev"]]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
PINS = [line for line in LOCK if line and not line.startswith("#")]


def pinned() -> dict[str, str]:
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in PINS}


def test_lock_has_only_exact_public_versions():
    """No editable or local path, no address, and no +cpu build that no other machine can install."""
    assert PINS
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert len(pinned()) == len(PINS)
    assert "unlearnkit" not in pinned()


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_lock_satisfies_every_direct_dependency(requirement):
    version = pinned()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


def test_every_pin_installs_on_the_oldest_python_that_is_promised():
    """Debian 12 has 3.11.2: a pin that asks for a later patch shuts its users out."""
    oldest = next(iter(SpecifierSet(PROJECT["requires-python"]))).version + ".0"
    # `get`: with the backport loaded, as some tests do, what is not said is a KeyError rather than None.
    told = {n: importlib.metadata.metadata(n).get("Requires-Python") for n in pinned() if _is_here(n)}
    assert [name for name, wants in told.items() if not SpecifierSet(wants or "").contains(oldest)] == []


def _is_here(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:  # of another system
        return False


def test_conda_environment_installs_the_lock_and_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    requirements = [Requirement(item) for item in environment["dependencies"] if isinstance(item, str)]
    plain = {requirement.name: requirement for requirement in requirements}
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert environment["name"] == PROJECT["name"]
    assert pip == ["-r requirements.lock", "-e ."]
    assert set(plain) == {"python", "pip"}
    assert plain["python"].specifier == SpecifierSet(PROJECT["requires-python"])
    (direct_pip,) = [requirement for requirement in DIRECT if requirement.name == "pip"]
    assert plain["pip"].specifier == direct_pip.specifier


def imported(source: str) -> set[str]:
    """Top-level names that a source imports from outside the standard library and this project."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OWN


def sources(folder: str) -> Iterator[str]:
    """Every Python file below a folder, and the code cells of every notebook."""
    for path in (ROOT / folder).rglob("*.py"):
        yield path.read_text()
    for path in (ROOT / folder).rglob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        yield "\n".join(re.sub("(?m)^[%!].*", "", "".join(cell["source"])) for cell in cells)


@pytest.mark.parametrize(
    ("folder", "extras"), [("unlearnkit", ["bench"]), ("notebooks", []), ("tests", ["dev"])]
)
def test_every_import_is_a_direct_dependency(folder, extras):
    """What is there only because something else needs it may go when that does."""
    named = PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]
    direct = {canonicalize_name(Requirement(line).name) for line in named}
    providers = (
        importlib.metadata.packages_distributions()
    )  # of what is installed; the bench extra may not be
    tops = set().union(*map(imported, sources(folder)))
    assert tops
    assert [t for t in sorted(tops) if direct.isdisjoint(map(canonicalize_name, providers.get(t, [t])))] == []


@pytest.mark.parametrize("module", ["torch", "filelock", "IPython", "rouge_score"])
def test_the_import_check_sees_what_is_missing(module, monkeypatch):
    provider = {"IPython": "ipython", "rouge_score": "rouge-score"}.get(module, module)
    lines = [line for line in PROJECT["dependencies"] if Requirement(line).name != provider]
    assert len(lines) == len(PROJECT["dependencies"]) - 1
    monkeypatch.setitem(PROJECT, "dependencies", lines)
    with pytest.raises(AssertionError, match=module):
        test_every_import_is_a_direct_dependency("unlearnkit", ["bench"])
