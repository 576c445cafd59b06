"""Texts and tokenizers that do not fit a model."""

import copy

import pytest
from architectures import architecture
from transformers import GPT2Config, MptConfig

from unlearnkit import models
from unlearnkit.data import Example
from unlearnkit.errors import DataError, ModelError
from unlearnkit.models import fitting

LIMIT = GPT2Config(n_positions=20)


def fact(id, prompt, answer):
    return Example(id, "", prompt, answer, "retain")


def test_lengths_are_the_tokenizer_s(tiny_tokenizer):
    """No merge of the tokenizer has a q: each is a token, and so is the space before an answer of them."""
    facts = [fact("a", "qqq", "qq"), fact("b", "q", "q" * 70)]
    assert fitting.lengths(tiny_tokenizer, facts) == [(6, 3), (72, 71)]
    assert fitting.lengths(tiny_tokenizer, facts, "text") == [(6, 5), (72, 71)]


def test_all_positions_may_be_used_and_no_more(tiny_tokenizer):
    fitting.require_fit(LIMIT, tiny_tokenizer, [fact("full", "q" * 10, "q" * 9)])
    facts = [fact("short", "q", "q"), *[fact(f"long-{k}", "q" * 10, "q" * 10) for k in range(7)]]
    with pytest.raises(DataError, match=r"20 positions .*: 'long-0' \(21\), .*'long-4' \(21\) and 2 more"):
        fitting.require_fit(LIMIT, tiny_tokenizer, facts)


def test_half_a_character_is_named(tiny_tokenizer):
    with pytest.raises(DataError, match="example 'half' holds half a character"):
        fitting.require_fit(LIMIT, tiny_tokenizer, [fact("whole", "q", "q"), fact("half", "q", "\ud83c")])


def test_a_special_token_in_an_answer_is_named(tiny_tokenizer):
    fitting.require_fit(LIMIT, tiny_tokenizer, [fact("chat", "<|endoftext|>q", "q")])
    facts = [fact("whole", "q", "q"), fact("cut", "q", "q <|endoftext|> q")]
    with pytest.raises(DataError, match=r"answer of example 'cut' holds '<\|endoftext\|>'.* delete it"):
        fitting.require_fit(LIMIT, tiny_tokenizer, facts)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "qwen3", "mamba", "rwkv"])
def test_a_causal_model_is_one(name):
    fitting.require_causal(architecture(name), name)


def test_a_model_that_looks_ahead_is_refused():
    with pytest.raises(ModelError, match="mine is a BertLMHeadModel that looks ahead.*is_decoder=true"):
        fitting.require_causal(architecture("bert"), "mine")


def test_a_limit_by_another_name_is_one(tiny_tokenizer):
    limit = MptConfig(max_seq_len=20)
    fitting.require_fit(limit, tiny_tokenizer, [fact("full", "q" * 10, "q" * 9)])
    with pytest.raises(DataError, match=r"20 positions .*: 'long' \(21\)"):
        fitting.require_fit(limit, tiny_tokenizer, [fact("long", "q" * 10, "q" * 10)])


def test_a_model_without_a_limit_takes_any_length(tiny_tokenizer):
    unlimited = GPT2Config(n_positions=-1)
    fitting.require_fit(unlimited, tiny_tokenizer, [fact("long", "q" * 3000, "q")])
    fitting.require_room(unlimited, tiny_tokenizer, [fact("long", "q" * 3000, "q")])


def test_the_longest_answer_must_fit_after_the_longest_prompt(tiny_tokenizer):
    """Ten tokens of prompt and an answer of ten, a space among them, are twenty; eleven are not."""
    prompt = fact("prompt", "q" * 10, "q")
    fitting.require_room(LIMIT, tiny_tokenizer, [prompt, fact("answer", "q", "q" * 9)])
    with pytest.raises(DataError, match=r"\('prompt', 10 tokens\) .*\('answer', 11\) need 21 .* has 20"):
        fitting.require_room(LIMIT, tiny_tokenizer, [prompt, fact("answer", "q", "q" * 10)])


def test_a_tokenizer_larger_than_the_token_matrix_is_refused_on_loading(tiny_model, tiny_tokenizer, tmp_path):
    more = copy.deepcopy(tiny_tokenizer)
    more.add_tokens(["<one>", "<two>"])
    tiny_model().save_pretrained(tmp_path)
    more.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"up to number 321, .* 320 rows: .*resize_token_embeddings\(322\)"):
        models.load(str(tmp_path))
    fitting.require_rows(more, 322, "mine")
