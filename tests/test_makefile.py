"""What make hands to the command line: each variable whole, whatever it is written with."""

import os
import shutil
import subprocess

import pytest

from unlearnkit.paths import ROOT

PRINT = "#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done\n"
NAME = """Ada "the Bee" O'Hara $HOME `id` \\ $(id) #1;"""


@pytest.fixture
def made(tmp_path):
    """`made(target, ..., **environment)`: the words that a target gives to python, which prints them."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PRINT)
    python.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()

    def run(*arguments, **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | environment
        command = ["make", "-s", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[2:]  # after -m unlearnkit

    return run


def test_names_keep_their_quotes_spaces_and_dollars(made):
    default = ["reproduce", "--profile", "default"]
    assert made("reproduce") == default
    assert made("reproduce", f"FORGET={NAME}") == [*default, "--forget", NAME]
    assert made("reproduce", FORGET=NAME) == [*default, "--forget", NAME]  # from the environment
    assert made("quick", f"FORGET={NAME}") == ["reproduce", "--profile", "quick", "--forget", NAME]
    assert made("reproduce", "DATA=my facts.jsonl", "MODEL=my 'model") == [
        *default, "--model", "my 'model", "--data", "my facts.jsonl"
    ]  # fmt: skip


def test_parameters_are_one_word_which_the_command_line_cuts(made):
    given = f"forget={NAME} lr=1e-4"
    assert made("reproduce", f"P={given}") == ["reproduce", "--profile", "default", "--parameters", given]


def test_a_cluster_is_handed_on_where_there_is_one(made):
    told = ["reproduce", "--profile", "quick", "--scheduler", "tcp://host:8786"]
    assert made("reproduce", "PROFILE=quick", "SCHEDULER=tcp://host:8786") == told


def test_other_targets_quote_too(made):
    assert made("models", f"MODEL={NAME}") == ["models", "fetch", NAME]
    assert made("report", "PROFILE=a b") == ["report", "--profile", "a b"]
    assert made("publish", "DATA_OF=a 'b") == ["publish", "--data", "a 'b"]
    assert made("models") == ["models", "fetch"]
