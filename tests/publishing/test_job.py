"""What is asked for can be told: nothing is empty, and no word is none of UTF-8's."""

from pathlib import Path

import pytest

from unlearnkit import __main__
from unlearnkit.errors import ConfigError
from unlearnkit.publishing.job import Job

GIVEN = {"model": "m", "data": "facts.jsonl", "who": "José", "out": Path("out")}


def test_a_good_one_is_taken():
    Job(**GIVEN, asked_by="Zoë 次", options=("kind=é",)).require()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"asked_by": "Jos\udce9"}, r"^--asked-by 'Jos.udce9' holds half a character .* in UTF-8"),
        ({"who": "Jos\udce9"}, "^--who 'Jos.udce9' holds half a character"),
        ({"options": ("lr=1", "kind=\udce9")}, "^-p 'kind=.udce9' holds half a character"),
        ({"model": ""}, "^--model is empty"),
        ({"data": " "}, "^--data is empty"),
        ({"who": ""}, "^--who is empty"),
    ],
)
def test_what_cannot_be_told_or_is_empty_is_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        Job(**GIVEN | changes).require()


@pytest.mark.parametrize("name", ["model", "data", "who", "out", "ledger", "history", "key"])
def test_an_empty_option_is_not_the_current_folder(name, capsys):
    words = ["forget", "--model", "m", "--data", "d", "--who", "w", "--out", "o", "--method", "npo"]
    assert __main__.main([*words, f"--{name}", ""]) == 2
    assert f"error: --{name} is empty" in capsys.readouterr().err
