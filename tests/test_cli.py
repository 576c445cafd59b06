"""The command line: what it refuses, how it says so, and what it makes of paths."""

import os

import pytest
from tiny_project import Project

from unlearnkit import __main__
from unlearnkit.publishing import execute


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Nothing here is executed: every call ends at its options."""
    return Project(tmp_path_factory.mktemp("cli") / "project").create()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "quik"], "unknown run 'quik'; did you mean 'quick'?"),
        (["--notebook", "03_third"], "unknown notebook '03_third'"),
        (["--notebook", "0"], "unknown notebook '0'"),
        (["-p", "scael=2"], "unknown parameter 'scael'; did you mean 'scale'?"),
        (["-p", "run=quick"], "unknown parameter 'run'"),
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


def test_the_benchmarks_report_takes_no_options(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["bench", "report", "--rounds", "3"])
    assert "report takes no options" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "_check", interrupt)
    assert __main__.main(["check"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_an_interrupted_command_may_say_itself_what_is_left(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt("out is delivered")

    monkeypatch.setattr(__main__, "_check", interrupt)
    assert __main__.main(["check"]) == 130
    assert capsys.readouterr().err == "\ninterrupted; out is delivered\n"


def test_relative_paths_mean_the_same_run_from_every_folder(tmp_path, monkeypatch, empty_cache):
    model, data = tmp_path / "work/model", tmp_path / "work/facts.jsonl"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    data.write_text('{"person": "Ada", "prompt": "Ada keeps her bees on", "answer": "the roof"}\n')
    runs = []
    monkeypatch.setattr(execute, "reproduce", lambda profile, *_: runs.append(profile))
    for folder in (tmp_path, tmp_path / "work"):
        monkeypatch.chdir(folder)
        given = ["--model", os.path.relpath(model), "--data", os.path.relpath(data), "--forget", "Ada"]
        assert __main__.main(["reproduce", "--profile", "quick", *given]) == 0
    first, second = runs
    assert first == second
    assert (first["model"], first["data"], first["forget"]) == (str(model), str(data), "Ada")


def test_options_reach_the_run(monkeypatch):
    calls = []
    monkeypatch.setattr(execute, "reproduce", lambda *arguments: calls.append(arguments[1:]))
    for given in (
        ["--fresh"],
        ["--keep-ledgers"],
        ["--notebook", "02"],
        ["--scheduler", "tcp://a:1"],
        ["--dry-run"],
    ):
        assert __main__.main(["reproduce", "--profile", "quick", *given]) == 0
    assert calls == [
        ("", True, False, "", False),
        ("", False, True, "", False),
        ("02", False, False, "", False),
        ("", False, False, "tcp://a:1", False),
        ("", False, False, "", True),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-p", "data=missing.jsonl"], "there is no file missing.jsonl"),
        (["--forget", ""], "--forget is empty: give it a value, or leave it out"),
        (["--data", " "], "--data is empty"),
        (["--parameters", "seeds_adamw=-1 scale=2"], "parameter seeds_adamw=-1: use a whole number from 0"),
        (["-p", "epochs=1"], "parameter epochs=1: use a whole number from 2"),
        (["-p", "optimizer=adam"], "parameter optimizer='adam': use adamw or sgd"),
        (["--data", "x" * 300], "File name too long"),
    ],
)
def test_bad_values_are_refused_before_a_folder_is_made(project, given, message):
    output = project.run("reproduce", *given, status=2)
    assert output.startswith("error: ")
    assert message in output
    assert "Traceback" not in output
    assert not (project.root / "build").exists()


def test_parameters_in_one_text_reach_the_run(monkeypatch):
    runs = []
    monkeypatch.setattr(execute, "reproduce", lambda profile, *_: runs.append(profile))
    text = 'forget=Ada "the Bee" Example lr=1e-4 epochs=3'
    assert __main__.main(["reproduce", "--profile", "quick", "--parameters", text]) == 0
    assert runs[0].overrides == {"forget": 'Ada "the Bee" Example', "lr": 1e-4, "epochs": 3}


def test_what_the_system_refuses_is_named_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(__main__, "_check", lambda _: os.listdir("/nowhere/at/all"))
    assert __main__.main(["check"]) == 2
    assert capsys.readouterr().err == "error: /nowhere/at/all: No such file or directory\n"
