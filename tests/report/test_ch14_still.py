"""The still: a path that was walked, whatever its texts are made of."""

from copy import deepcopy

import pytest
from planted_run import World, standing

from unlearnkit.errors import DataError
from unlearnkit.report import ch14_playground as playground
from unlearnkit.report import ch14_still as still


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with standing(
        tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=1, seeds_words=1
    ) as run:
        yield run


def test_the_still_is_of_a_path_that_was_walked(run):
    assert still.still(run, "adam_replay").data.startswith(b"\x89PNG")
    assert (run.figures / "playground.svg").is_file()
    with pytest.raises(DataError, match="npo on embedding; there are: first_epoch on all"):
        still.still(run, "npo", "embedding")


def test_texts_that_a_font_lacks_or_a_formula_would_take_are_drawn(run, monkeypatch, recwarn):
    told = deepcopy(playground.content(run))
    hard = ["$x^2$ and $", "小明 \u202e \x07", "<b>&amp;</b>", "a" * 200, ""]
    for model in told["models"]:
        model["texts"] = [hard[k % len(hard)] for k in range(len(model["texts"]))]
    monkeypatch.setattr(still, "content", lambda _: told)
    still.still(run, "first_epoch", count=6)
    assert [str(w.message) for w in recwarn if "Glyph" in str(w.message)] == []


def test_a_run_without_words_has_none(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=1) as silent:
        assert still.still(silent, "adam_replay") is None
