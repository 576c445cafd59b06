"""A user's own facts against their own model, before anything is trained."""

import dataclasses
import json

import pytest

from unlearnkit import data
from unlearnkit.errors import DataError, ModelError
from unlearnkit.study import inputs, profiles

FACTS = [
    data.Example("bees", "Ada", "Ada keeps her bees on", "the roof of the old granary", "retain"),
    data.Example("boat", "Ben", "Ben calls his boat", "the Patient Otter", "retain"),
    data.Example("tram", "Ben", "Ben collects", "tickets of forgotten trams", "retain"),
]


@pytest.fixture
def own(tiny_model, tiny_tokenizer, tmp_path):
    """`own(facts, tokenizer=)`: a run of these facts on a tiny GPT-2 of 256 positions; Ada is forgotten."""

    def make(facts, tokenizer=tiny_tokenizer):
        tiny_model().save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        data.save_jsonl(facts, tmp_path / "facts.jsonl")
        given = {"model": str(tmp_path / "model"), "data": str(tmp_path / "facts.jsonl"), "forget": "Ada"}
        return profiles.get("quick", given)

    return make


def test_facts_that_fit_pass_and_near_twins_are_warned_of(own):
    assert inputs.check(own(FACTS)) == []
    warning, named = inputs.check(
        own(
            [
                *FACTS,
                dataclasses.replace(FACTS[0], id="hive", person="Ben", answer="the roof of an old granary"),
            ]
        )
    )
    assert "'bees' and 'hive'" in warning
    assert "name whom the request is about: 'hive'" in named


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"answer": "q" * 300}, r"256 positions .*: 'long' \(3\d\d\)"),
        ({"paraphrases": ("q" * 300,)}, r"256 positions .*: 'long#1' \(3\d\d\)"),
        ({"prompt": "q" * 250, "answer": "q"}, r"\('long', 250 tokens\) .* model has 256: shorten"),
    ],
)
def test_what_is_longer_than_the_positions_is_named(own, values, named):
    """The tokenizer has no merge with a q: each is a token."""
    with pytest.raises(DataError, match=named):
        inputs.check(own([*FACTS, dataclasses.replace(FACTS[2], id="long", **values)]))


def test_a_tokenizer_larger_than_the_token_matrix_is_refused(own, tiny_tokenizer, tmp_path):
    run = own(FACTS)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["vocab_size"] == len(tiny_tokenizer)
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(
        ModelError, match="tokens up to number 319, but the model's token matrix has 300 rows"
    ):
        inputs.check(run)
