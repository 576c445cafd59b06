"""leak@k: sampling by its distribution, and the expectation against all subsets."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from worlds import ANSWERS as FACTS

from unlearnkit import metrics
from unlearnkit.batching import encode
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.metrics import generation
from unlearnkit.metrics.leakage import contains


@pytest.mark.parametrize("k", range(1, 7))
def test_leak_at_k_is_the_mean_over_all_subsets(k):
    values = np.random.default_rng(0).integers(0, 4, 6) / 4  # with ties
    expected = np.mean([max(subset) for subset in combinations(values, k)])
    assert metrics.leak_at_k(values, k) == pytest.approx(expected)


def test_leak_at_k_of_many_samples_is_finite_and_of_no_leak_0():
    assert metrics.leak_at_k([1.0] + [0.0] * 999, 64) == pytest.approx(0.064)
    assert metrics.leak_at_k([0.0] * 200, 64) == 0


def test_leak_at_k_is_unbiased():
    rng, k = np.random.default_rng(1), 4
    found = [metrics.leak_at_k(rng.random(10) < 0.2, k) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(1 - 0.8**k, abs=0.02)


def test_bad_values_are_named():
    with pytest.raises(ConfigError, match="k=3: 2 samples"):
        metrics.leak_at_k([0.0, 1.0], 3)
    with pytest.raises(DataError, match="finite"):
        metrics.leak_at_k([0.0, np.nan], 1)


@pytest.mark.parametrize(
    ("text", "answer", "there"),
    [
        ("He said: Oster Fell, no doubt", "Oster Fell", True),
        ("oster  fell", "Oster Fell", True),
        ("Oster was Fell", "Oster Fell", False),
        ("Osterfell", "Oster Fell", False),
        ("", "Oster Fell", False),
        ("他在北京住", "北京", True),
    ],
)
def test_containment(text, answer, there):
    assert contains(text, answer) is there


def test_samples_follow_from_seed_and_example_alone(model, tiny_tokenizer):
    all_together = metrics.samples(model, tiny_tokenizer, FACTS, 3, seed=5, batch_size=32)
    assert [len(said) for said in all_together] == [3] * len(FACTS)
    assert metrics.samples(model, tiny_tokenizer, FACTS, 3, seed=5, batch_size=2) == all_together
    assert metrics.samples(model, tiny_tokenizer, FACTS[2:3], 2, seed=5) == [all_together[2][:2]]
    assert metrics.samples(model, tiny_tokenizer, FACTS, 3, seed=6) != all_together


def test_tokens_are_drawn_as_often_as_they_are_likely():
    logits = torch.tensor([0.1, 0.2, 0.0, 0.7]).log().expand(4000, 4)
    draws = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0))
    drawn = Counter(generation._next(logits, draws, 0).flatten().tolist())
    assert set(drawn) == {0, 1, 3}
    for token, p in ((0, 0.1), (1, 0.2), (3, 0.7)):
        assert drawn[token] / 4000 == pytest.approx(p, abs=3 * np.sqrt(p * (1 - p) / 4000))
    edges = generation._next(logits[:2], torch.tensor([[0.0], [1 - 2**-24]]), 0)
    assert edges.flatten().tolist() == [0, 3]


def test_a_sure_model_says_the_same_drawn_as_greedily(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", False)
    model.lm_head.weight.data *= 1e4
    said = metrics.samples(model, tiny_tokenizer, FACTS, 2)
    assert said == [[text] * 2 for text in metrics.continuations(model, tiny_tokenizer, FACTS)]


def test_leakage_scores_every_sample(monkeypatch, tiny_model, tiny_tokenizer):
    """A model that knows one answer: its tokens in one sample of two, by draws that the test gives."""
    fact = FACTS[0]
    tokens, labelled = encode(tiny_tokenizer, fact.prompt, fact.answer, "answer")
    right = [t for t, answer in zip(tokens, labelled, strict=True) if answer]
    monkeypatch.setattr(generation, "greedy", lambda *_: [right, [right[0]] * len(right)])
    frame = metrics.leakage(tiny_model("gpt2"), tiny_tokenizer, [fact], 2)
    assert frame["sample"].tolist() == [0, 1]
    assert frame["containment"].tolist() == [1, 0]
    assert frame["rougeL_recall"].iloc[0] == 1
    with pytest.raises(ConfigError, match="n=0"):
        metrics.leakage(tiny_model("gpt2"), tiny_tokenizer, [fact], 0)
    with pytest.raises(DataError, match="empty"):
        metrics.leakage(tiny_model("gpt2"), tiny_tokenizer, [], 2)
