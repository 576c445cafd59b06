"""Perplexity of texts, against a plain loop."""

import math

import pytest
import torch
from architectures import architecture
from worlds import TEXTS

from unlearnkit import metrics


def plain_perplexity(model, tokenizer, texts, context, budget=math.inf):
    """Summed NLL and number of predicted tokens, one window at a time, from full logits."""
    total, count = 0.0, 0
    for text in texts:
        tokens = tokenizer(text)["input_ids"]
        for start in range(0, len(tokens) - 1, context):
            window = torch.tensor([tokens[start : start + context + 1]])
            with torch.no_grad():
                log_p = model(input_ids=window[:, :-1]).logits[0].log_softmax(-1)
            for row, target in zip(log_p, window[0, 1:], strict=True):
                if count < budget:
                    total, count = total - row[target].item(), count + 1
    return total, count


@pytest.mark.parametrize("budget", [None, 1, 57, 10_000])
def test_perplexity_is_that_of_a_plain_loop(model, tiny_tokenizer, budget):
    result = metrics.perplexity(model, tiny_tokenizer, TEXTS, max_tokens=budget, context=30)
    total, count = plain_perplexity(model, tiny_tokenizer, TEXTS, 30, budget or math.inf)
    assert result["tokens"] == count
    assert result["nll"] == pytest.approx(total / count, rel=1e-5)
    assert result["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-4)
    bits = total / math.log(2)
    assert result["bits_per_character"] == pytest.approx(bits / result["characters"], rel=1e-5)


def test_a_tokenizer_without_offsets_leaves_out_what_goes_by_characters(tiny_model, tiny_tokenizer):
    class Slow:
        """Tokens alone, as slow tokenizers give them."""

        is_fast = False

        def __call__(self, text, return_offsets_mapping, **asked):
            assert not return_offsets_mapping
            return {"input_ids": tiny_tokenizer(text, **asked)["input_ids"]}

    model = tiny_model("llama", True)
    told, expected = (metrics.perplexity(model, t, TEXTS) for t in (Slow(), tiny_tokenizer))
    assert (told["nll"], told["tokens"]) == (expected["nll"], expected["tokens"])
    assert math.isnan(told["characters"])
    assert math.isnan(told["bits_per_character"])


def test_characters_are_those_of_the_predicted_tokens(tiny_model, tiny_tokenizer):
    """All but the first token's, with letters of several bytes counted once."""
    model = tiny_model("llama", True)
    for context in (3, 256):
        result = metrics.perplexity(model, tiny_tokenizer, ["To Łódź, 東京 and café"], context=context)
        first = tiny_tokenizer.decode(tiny_tokenizer("To Łódź")["input_ids"][:1])
        assert result["characters"] == len("To Łódź, 東京 and café") - len(first)


@pytest.mark.parametrize(("name", "limit"), [("gpt2", "max_position_embeddings"), ("mpt", "max_seq_len")])
def test_perplexity_keeps_to_the_models_own_limit(name, limit, tiny_tokenizer):
    model = architecture(name)
    limit = getattr(model.config, limit)
    if name == "mpt":
        del model.config.max_position_embeddings  # which `architecture` gives every model
    long = ["tide and rope " * limit]
    at_limit = metrics.perplexity(model, tiny_tokenizer, long, context=limit)
    assert metrics.perplexity(model, tiny_tokenizer, long, context=10 * limit) == at_limit
