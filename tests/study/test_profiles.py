"""Runs: profiles, what a user changes in them, and the folder they go to."""

import pytest

from unlearnkit.errors import ConfigError
from unlearnkit.study import profiles


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))


def test_values_take_the_type_of_the_default():
    assert profiles.parse_value("a", "3", 1.0) == 3.0
    assert profiles.parse_value("a", "3", "text") == "3"
    assert profiles.parse_value("a", "[1, 2]", []) == [1, 2]
    assert profiles.parse_value("a", "true", False) is True
    for text, default in (("1.5", 1), ("true", 1), ("1", True)):
        with pytest.raises(ConfigError, match="not of type"):
            profiles.parse_value("a", text, default)


def test_assignments_name_known_parameters():
    assert profiles.parse_overrides({"a": 1, "b": ""}, ["a=2", "b=x=y"]) == {"a": 2, "b": "x=y"}
    with pytest.raises(ConfigError, match="not of the form name=value"):
        profiles.parse_overrides({"a": 1}, ["a"])
    with pytest.raises(ConfigError, match="unknown parameter 'seds'; did you mean 'seeds'"):
        profiles.parse_overrides({"seeds": 1}, ["seds=1"])


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
