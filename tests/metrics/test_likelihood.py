"""Scores of answers, against a plain loop."""

import math

import pytest
import torch
from worlds import ANSWERS as FACTS
from worlds import TEXTS, plain_answer

from unlearnkit import metrics
from unlearnkit.batching import batch_of
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
    model, fact = tiny_model("gpt2", False), FACTS[:1]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nll, _ = answer_tokens(model, batch_of(tiny_tokenizer, fact))
        nll[0].mean().backward()
        optimizer.step()
    known = metrics.score(model, tiny_tokenizer, fact).iloc[0]
    assert (known.exact_memorisation, known.extraction_strength) == (1, 1)
    assert known.probability > 0.5
    assert metrics.continuations(model, tiny_tokenizer, fact) == ["Oster Fell"]
    model.lm_head.weight.data.neg_()
    turned = metrics.score(model, tiny_tokenizer, fact).iloc[0]
    assert (turned.exact_memorisation, turned.extraction_strength) == (0, 0)


def test_paraphrases_become_examples():
    rows = metrics.paraphrased(FACTS)
    assert [(e.id, e.prompt, e.answer) for e in rows] == [
        ("a#1", "Born:", "Oster Fell"),
        ("a#2", "Home:", "Oster Fell"),
        ("d#1", "Dom Łukasza:", "mieście Łódź"),
    ]
    assert metrics.paraphrased(rows) == []


def test_set_perplexity_weighs_by_tokens(model, tiny_tokenizer):
    frame = metrics.score(model, tiny_tokenizer, FACTS)
    every = [nll for e in FACTS for nll in plain_answer(model, tiny_tokenizer, e)[0]]
    assert metrics.set_perplexity(frame) == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-5)


def test_a_wrecked_model_has_infinite_perplexity(tiny_model, tiny_tokenizer):
    """Far along an alpha path the NLL is finite, but its exponential is not."""
    model = tiny_model("gpt2", False)
    model.lm_head.weight.data *= 1e5
    scores = metrics.score(model, tiny_tokenizer, FACTS)
    assert scores["probability"].max() == 0
    assert metrics.set_perplexity(scores) == math.inf
    text = metrics.perplexity(model, tiny_tokenizer, TEXTS)
    assert text["perplexity"] == math.inf
    assert math.isfinite(text["bits_per_character"])
