"""Scores of answers, against a plain loop."""

import math
from dataclasses import replace

import pytest
import torch
from worlds import ANSWERS as FACTS
from worlds import PASSAGE, TEXTS, plain_answer

from unlearnkit import data, metrics, models
from unlearnkit.batching import batch_of
from unlearnkit.errors import DataError
from unlearnkit.metrics.likelihood import answer_tokens, extraction_strength


def test_score_is_that_of_a_plain_loop(model, tiny_tokenizer):
    frame = metrics.score(model, tiny_tokenizer, FACTS, batch_size=2)
    assert frame["id"].tolist() == ["a", "b", "c", "d", "e"]
    assert frame["person"].tolist() == [e.person for e in FACTS]
    for row, example in zip(frame.itertuples(), FACTS, strict=True):
        nll, right = plain_answer(model, tiny_tokenizer, example)
        assert row.n_tokens == len(nll)
        assert row.nll == pytest.approx(sum(nll) / len(nll), rel=1e-5)
        assert row.probability == pytest.approx(math.exp(-row.nll))
        assert row.exact_memorisation == pytest.approx(sum(right) / len(right))
        assert row.extraction_strength == extraction_strength(right)


def test_a_text_beyond_a_table_of_positions_is_refused_by_name(tiny_model, tiny_tokenizer):
    """It has 256 of them. (Rotary ones go on.)"""
    model = tiny_model("gpt2")
    long = replace(FACTS[1], id="long", answer="q " * 256)
    with pytest.raises(DataError, match="example 'long' has 5.. tokens, and the model 256 positions"):
        metrics.score(model, tiny_tokenizer, [*FACTS, long])


@pytest.mark.parametrize(
    ("right", "strength"),
    [
        ("0", 0),  # the common code gives 1 here
        ("0000", 0),
        ("1110", 0),
        ("1", 1),
        ("1111", 1),
        ("0111", 3 / 4),
        ("1011", 1 / 2),
        ("0001", 1 / 4),
    ],
)
def test_extraction_strength_by_hand(right, strength):
    assert extraction_strength([c == "1" for c in right]) == strength


def test_memorised_and_unknown_answers(tiny_model, tiny_tokenizer):
    """A model taught one fact has measures 1 and says the answer; one whose head is turned round has 0."""
    fact = FACTS[:1]
    model = taught(tiny_model("gpt2", False), tiny_tokenizer, FACTS[0], 40)
    known = metrics.score(model, tiny_tokenizer, fact).iloc[0]
    assert (known.exact_memorisation, known.extraction_strength) == (1, 1)
    assert known.probability > 0.5
    assert metrics.continuations(model, tiny_tokenizer, fact) == ["Oster Fell"]
    model.lm_head.weight.data.neg_()
    turned = metrics.score(model, tiny_tokenizer, fact).iloc[0]
    assert (turned.exact_memorisation, turned.extraction_strength) == (0, 0)


def taught(model, tokenizer, fact, steps):
    """The model after steps on one fact's answer alone."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nll, _ = answer_tokens(model, batch_of(tokenizer, [fact]))
        nll[0].mean().backward()
        optimizer.step()
    return model


def test_known_is_what_the_model_says_greedily(tiny_model, tiny_tokenizer):
    model = taught(tiny_model("gpt2", False), tiny_tokenizer, FACTS[0], 40)
    other = replace(FACTS[0], id="other", answer="Oster Hill")  # it begins alike
    given = [*FACTS, other, replace(FACTS[0], id="again")]
    said = metrics.continuations(model, tiny_tokenizer, given)
    expected = [e for e, text in zip(given, said, strict=True) if text == e.answer]
    assert [e.id for e in expected] == ["a", "again"]
    assert metrics.known(model, tiny_tokenizer, given, batch_size=3) == expected
    assert metrics.known(model, tiny_tokenizer, [other]) == []


@pytest.mark.smollm2
def test_the_pretrained_model_knows_some_capitals_and_nobody_invented():
    model, tokenizer = models.load("smollm2-135m")
    capitals = [f for f in data.world_facts() if f.person in ("France", "Japan", "Italy", "Chad", "Greece")]
    known = {f.id for f in metrics.known(model, tokenizer, capitals)}
    assert {"capital-france-paris", "capital-japan-tokyo"} <= known < {f.id for f in capitals}
    assert metrics.known(model, tokenizer, data.dave()[:20:4]) == []


def test_long_answers_are_scored_as_in_a_plain_loop(model, tiny_tokenizer):
    """A passage beside an answer of a word: padding and length change neither's scores."""
    frame = metrics.score(model, tiny_tokenizer, [PASSAGE, FACTS[4]])
    for row, example in zip(frame.itertuples(), [PASSAGE, FACTS[4]], strict=True):
        nll, right = plain_answer(model, tiny_tokenizer, example)
        assert row.n_tokens == len(nll)
        assert row.nll == pytest.approx(sum(nll) / len(nll), rel=1e-5)
        assert row.exact_memorisation == pytest.approx(sum(right) / len(right))
        assert row.extraction_strength == extraction_strength(right)
    assert 60 <= frame["n_tokens"][0] <= 150


def test_a_passage_learnt_by_heart_and_one_with_a_wrong_word(tiny_model, tiny_tokenizer):
    model = taught(tiny_model("gpt2", False), tiny_tokenizer, PASSAGE, 80)
    known = metrics.score(model, tiny_tokenizer, [PASSAGE]).iloc[0]
    assert (known.exact_memorisation, known.extraction_strength) == (1, 1)
    assert metrics.continuations(model, tiny_tokenizer, [PASSAGE]) == [PASSAGE.answer]
    changed = replace(PASSAGE, answer=PASSAGE.answer.replace("past the river", "past the station"))
    wrong = metrics.score(model, tiny_tokenizer, [changed]).iloc[0]
    assert 0.9 < wrong.exact_memorisation < 1
    assert wrong.extraction_strength < 0.1  # only after the last wrong token


def test_paraphrases_become_examples():
    rows = metrics.paraphrased(FACTS)
    assert [(e.id, e.prompt, e.answer) for e in rows] == [
        ("a#1", "Born:", "Oster Fell"),
        ("a#2", "Home:", "Oster Fell"),
        ("d#1", "Dom Łukasza:", "mieście Łódź"),
    ]
    assert metrics.paraphrased(rows) == []


def test_a_wrecked_model_has_infinite_perplexity(tiny_model, tiny_tokenizer):
    """Far along an alpha path the NLL is finite, but its exponential is not."""
    model = tiny_model("gpt2", False)
    model.lm_head.weight.data *= 1e5
    scores = metrics.score(model, tiny_tokenizer, FACTS)
    assert scores["probability"].max() == 0
    text = metrics.perplexity(model, tiny_tokenizer, TEXTS)
    assert text["perplexity"] == math.inf
    assert math.isfinite(text["bits_per_character"])
