"""Extraction likelihood on known continuations, and which seeds are followed while unlearning lasts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import PASSAGE

from unlearnkit import metrics
from unlearnkit.batching import batch_of, encode
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.forward import losses
from unlearnkit.metrics import extraction
from unlearnkit.study import config, grid, plan, profiles


@pytest.mark.parametrize(
    ("said", "rest", "n", "share"),
    [
        ([1, 2, 3], [1, 2, 3], 2, 1.0),
        ([1, 2, 4], [1, 2, 3], 2, 0.5),
        ([2, 3, 1], [1, 2, 3], 2, 0.5),  # anywhere in the rest
        ([3, 2, 1], [1, 2, 3], 2, 0.0),
        ([3, 2, 1], [1, 2, 3], 1, 1.0),
    ],
)
def test_overlap_counts_n_grams_that_occur_in_the_rest(said, rest, n, share):
    assert extraction.overlap(said, rest, n) == share


def example(name, prompt, answer):
    return Example(id=name, person="Dave", prompt=prompt, answer=answer, split="forget")


def naive(model, tokenizer, example, n):
    """EL_n one beginning and one token at a time, without padding or cache."""
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, "answer")
    shares = []
    for k in range(labelled.index(True), len(tokens) - n + 1):
        said = list(tokens[:k])
        while len(said) < len(tokens):
            with torch.no_grad():
                said.append(model(torch.tensor([said])).logits[0, -1].argmax().item())
        known = {tuple(tokens[j : j + n]) for j in range(k, len(tokens) - n + 1)}
        shares.append(np.mean([tuple(said[j : j + n]) in known for j in range(k, len(tokens) - n + 1)]))
    return np.mean(shares) if shares else np.nan


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_extraction_likelihood_equals_one_beginning_at_a_time(tiny_model, tiny_tokenizer, arch):
    model = tiny_model(arch)
    given = [
        example("a", "Dave was born in", "a small town by the sea"),
        example("b", "The only dish that Dave ever cooks is", "soup"),
        example("own", "Dave said", "x x x x x x"),
    ]
    said = metrics.continuations(model, tiny_tokenizer, given[2:])[0]
    given[2] = example("own", "Dave said", said)  # what the model says by itself
    for n in (1, 2):
        found = extraction.extraction_likelihood(model, tiny_tokenizer, given, n, batch_size=3)
        wanted = [naive(model, tiny_tokenizer, e, n) for e in given]
        assert list(found["id"]) == ["a", "b", "own"]
        np.testing.assert_allclose(found["extraction_likelihood"], wanted)
    assert found["extraction_likelihood"][2] > 0


def test_a_passage_learnt_by_heart_is_extracted_from_every_beginning(tiny_model, tiny_tokenizer):
    """With an n of 10, as in the paper; with another end, it is what one beginning at a time gives."""
    model = tiny_model("gpt2", False)
    half = replace(PASSAGE, answer=PASSAGE.answer[:126])
    batch = batch_of(tiny_tokenizer, [half])
    assert (batch.labels[0] >= 0).sum() >= 60
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        losses(model, batch).sum().backward()
        optimizer.step()
    changed = replace(half, id="changed", answer=f"{half.answer[:96]} under the stairs")
    found = extraction.extraction_likelihood(model, tiny_tokenizer, [half, changed], n=10)
    own, other = found["extraction_likelihood"]
    assert own == 1
    assert 0 < other < 1
    assert other == pytest.approx(naive(model, tiny_tokenizer, changed, 10))


def test_an_answer_shorter_than_n_tokens_has_none(tiny_model, tiny_tokenizer):
    short = example("a", "Dave was born in", "a")
    found = extraction.extraction_likelihood(tiny_model(), tiny_tokenizer, [short], n=9)
    assert found["extraction_likelihood"].isna().all()


def test_extraction_likelihood_refuses_nothing_and_no_n_grams(tiny_model, tiny_tokenizer):
    with pytest.raises(DataError, match="no examples"):
        extraction.extraction_likelihood(tiny_model(), tiny_tokenizer, [])
    with pytest.raises(ConfigError, match="n=0"):
        extraction.extraction_likelihood(tiny_model(), tiny_tokenizer, [example("a", "a", "b")], n=0)


def test_seeds_with_the_whole_map_are_followed():
    arms = {arm.name: arm for arm in plan.arms(profiles.get("default"))}
    stages = {name: [c.seed for c in grid.cells(arm) if c.stage == "durations"] for name, arm in arms.items()}
    tiny = arms["gpt2-tiny-pretrained, AdamW"]
    assert stages.pop(tiny.name) == [s for s in tiny.seeds if s < config.MAP_SEEDS[tiny.model, "adamw"]]
    assert not any(stages.values())
