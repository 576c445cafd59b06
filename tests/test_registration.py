"""The published run came after its claims: every cell carries their digest, and was made by later code."""

import subprocess

import pytest

from unlearnkit import claims, paths
from unlearnkit.claims import methods
from unlearnkit.study import collect

REGISTRATION = "006800b"  # the commit in which the claims, readings and margins stand as they are
COMPARISON = "33ad29c"  # the same of the comparison of methods
RULES = ("TRIALS", "TUNING_SEEDS", "NEAR", "SHARE", "MARGIN", "PRINCIPAL", "NEVER_ADVISED", "HAVE")


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False)


def came_first(registration, commits):
    """Whether all commits descend from it; skips where git cannot say."""
    if git("cat-file", "-e", registration).returncode:
        pytest.skip("without its history (a shallow clone, or no git): nothing to see which came first")
    return all(not git("merge-base", "--is-ancestor", registration, c).returncode for c in commits)


@pytest.fixture(scope="module")
def manifest():
    return collect.manifest(collect.published())


@pytest.fixture
def machines(manifest):
    return manifest["machines"]


def test_every_cell_was_made_where_these_very_claims_were_registered(machines):
    assert {made.get("registered") for made in machines} == {claims.digest()}


def test_every_cell_was_made_by_code_that_came_after_the_registration(machines):
    assert came_first(REGISTRATION, {made["commit"] for made in machines})


def test_every_compared_path_was_walked_by_code_that_came_after_the_comparisons_rules(manifest):
    commits = {cell["made"]["commit"] for cell in manifest["cells"] if cell["stage"] == "compared"}
    assert came_first(COMPARISON, commits)


def test_the_comparisons_rules_are_those_that_were_registered():
    if (then := git("show", f"{COMPARISON}:unlearnkit/claims/methods.py")).returncode:
        pytest.skip("without its history (a shallow clone, or no git): nothing to compare with")
    registered: dict = {}
    exec(then.stdout, registered)
    assert {name: registered[name] for name in RULES} == {name: getattr(methods, name) for name in RULES}
