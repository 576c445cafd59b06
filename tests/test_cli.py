"""The command line: what it refuses, and how it says so."""

import pytest
from tiny_project import Project

from unlearnkit import profiles
from unlearnkit.errors import ConfigError


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Nothing here is executed: every call ends at its options."""
    return Project(tmp_path_factory.mktemp("cli") / "project").create()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "quik"], "unknown profile 'quik'; did you mean 'quick'?"),
        (["--notebook", "03_third"], "unknown notebook '03_third'"),
        (["--notebook", "0"], "unknown notebook '0'"),
        (["-p", "scael=2"], "unknown parameter 'scael'; did you mean 'scale'?"),
        (["-p", "profile=quick"], "unknown parameter 'profile'"),
        (["-p", "scale"], "parameter 'scale' is not of the form name=value"),
        (["-p", "scale=large"], "parameter scale: 'large' is not of type float; the default is 1.0"),
        (["--data", "missing.jsonl"], "there is no file missing.jsonl"),
    ],
)
def test_reproduce_refuses_and_names_the_culprit(project, arguments, message):
    output = project.run("reproduce", *arguments, status=2)
    assert output.startswith("error: ")
    assert message in output
    assert "Traceback" not in output
    assert not (project.root / "build").exists()


@pytest.mark.parametrize("command", ["report", "publish", "check"])
def test_commands_that_need_a_run_say_which_command_makes_one(project, command):
    output = project.run(command, status=2)
    assert output.startswith("error: ")
    assert "make reproduce" in output


def test_no_command_is_an_error_and_help_is_none(project):
    assert "COMMAND" in project.run(status=2)
    assert "reproduce" in project.run("--help")


def test_values_take_the_type_of_the_default():
    assert profiles.parse_value("a", "3", 1.0) == 3.0
    assert profiles.parse_value("a", "3", "text") == "3"
    assert profiles.parse_value("a", "[1, 2]", []) == [1, 2]
    assert profiles.parse_value("a", "true", False) is True
    with pytest.raises(ConfigError, match="not of type int"):
        profiles.parse_value("a", "1.5", 1)
    with pytest.raises(ConfigError, match="not of type int"):
        profiles.parse_value("a", "true", 1)


def test_a_run_is_named_by_what_was_overridden(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    quick = profiles.get("quick")
    assert profiles.get("quick", {"model": quick["model"]}) == quick
    mine = profiles.get("quick", {"model": "mine"})
    assert mine["model"] == "mine"
    assert mine.name != quick.name
    assert mine.name != profiles.get("quick", {"model": "yours"}).name
    with pytest.raises(ConfigError, match="unknown profile"):
        profiles.get(mine.name)
    profiles.record(mine)
    assert profiles.get(mine.name) == mine
    assert profiles.get(mine.name, {"model": quick["model"]}) == quick


def test_a_profile_that_sets_what_no_notebook_declares_is_an_error():
    profile = profiles.Profile("tiny", "", {}, notebooks={"01_second": {"scael": 1}})
    assert profile.values_for("00_overview", {"scale": 2}) == {"scale": 2}
    with pytest.raises(ConfigError, match="did you mean 'scale'"):
        profile.values_for("01_second", {"scale": 2})
