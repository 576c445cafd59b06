"""pyproject.toml, requirements.lock and environment.yml say the same."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from unlearnkit.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
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
