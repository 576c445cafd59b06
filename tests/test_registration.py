"""The published run came after its claims: every cell carries their digest, and was made by later code."""

import subprocess

import pytest

from unlearnkit import claims, paths
from unlearnkit.study import collect

REGISTRATION = "006800b"  # the commit in which the claims, readings and margins stand as they are


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def machines():
    return collect.manifest(collect.published())["machines"]


def test_every_cell_was_made_where_these_very_claims_were_registered(machines):
    assert {made.get("registered") for made in machines} == {claims.digest()}


def test_every_cell_was_made_by_code_that_came_after_the_registration(machines):
    if git("cat-file", "-e", REGISTRATION).returncode:
        pytest.skip(
            "without its history (a shallow clone, or no git): nothing to see which commit came first"
        )
    for commit in {made["commit"] for made in machines}:
        assert git("merge-base", "--is-ancestor", REGISTRATION, commit).returncode == 0, commit
