"""Runs: profiles, what a user changes in them, and the folder they go to."""

import pytest

from unlearnkit.errors import ConfigError
from unlearnkit.study import profiles


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))


def test_a_run_is_named_by_what_was_overridden():
    quick = profiles.get("quick")
    assert profiles.get("quick", {"model": quick["model"]}) == quick
    mine = profiles.get("quick", {"model": "me/mine"})
    assert mine["model"] == "me/mine"
    assert mine.name.startswith("quick-")
    assert mine.name != profiles.get("quick", {"model": "me/yours"}).name
    with pytest.raises(ConfigError, match="unknown run"):
        profiles.get(mine.name)
    profiles.record(mine)
    assert profiles.get(mine.name) == mine
    assert profiles.get(mine.name, {"model": quick["model"]}) == quick


def test_the_built_in_study_is_told_from_a_user_s_own():
    assert profiles.is_built_in(profiles.get("quick"))
    assert profiles.is_built_in(profiles.get("quick", {"seeds_adamw": 1}))
    for own in ({"model": "me/mine"}, {"forget": "Rosa"}):
        assert not profiles.is_built_in(profiles.get("quick", own))
