"""Greedy continuations of every kind of model, against a loop over single rows without padding or cache."""

import pytest
import torch
from architectures import architecture
from worlds import with_marker

from unlearnkit import metrics
from unlearnkit.data import Example
from unlearnkit.metrics import generation

ROWS = [[40, 50, 60, 70, 80, 90], [91, 55], [33, 44, 200]]
CACHED, PLAIN = ("gpt2", "llama", "qwen3", "gemma2", "opt"), ("mamba", "rwkv", "bloom", "openai-gpt", "ctrl")


def one_by_one(model, row, steps):
    tokens = list(row)
    for _ in range(steps):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        tokens.append(logits.argmax().item())
    return tokens[len(row) :]


@pytest.mark.parametrize("name", [*CACHED, *PLAIN])
def test_rows_of_any_length_are_continued_as_each_alone(name):
    model = architecture(name)
    with torch.no_grad():
        said = generation.greedy(model, ROWS, 4)
    assert said == [one_by_one(model, row, 4) for row in ROWS]


def test_usual_models_are_run_in_batches_and_others_are_not():
    usual = ("gpt2", "llama", "qwen3")
    with torch.no_grad():
        assert [generation._can_batch(architecture(name)) for name in usual] == [True] * 3
        assert not generation._can_batch(architecture("mamba"))


def test_what_is_said_holds_nothing_of_the_prompt(monkeypatch, tiny_model):
    """A model that is right says the answer, also where its first token begins within the prompt."""
    tokenizer, model = with_marker(), tiny_model("llama")
    ids = tokenizer.convert_tokens_to_ids
    for prompt, answer, tokens in (("小明在", "北京", ["在北", "京"]), ("Dave is in", "Pim", ["▁Pim"])):
        monkeypatch.setattr(generation, "greedy", lambda *_, t=tokens: [ids(t)])
        assert metrics.continuations(model, tokenizer, [Example("a", "", prompt, answer, "forget")]) == [
            answer
        ]
