"""What the pretraining taught the tiny models."""

import json
from dataclasses import replace

import pytest
from worlds import SENTENCE, SHUFFLED, perplexity

from unlearnkit import data, metrics, models
from unlearnkit.errors import ModelError
from unlearnkit.models import pretraining, recipes


@pytest.mark.smollm2
@pytest.mark.parametrize(
    ("pretrained", "start"),
    [
        ("gpt2-tiny-pretrained-quick", "gpt2-tiny"),
        ("neox-tiny-pretrained", "neox-tiny"),
        ("llama-tiny-pretrained", "llama-tiny"),
    ],
)
def test_pretraining_taught_the_model(pretrained, start):
    """The cached model beats half of the unigram perplexity, by its report, on eval text and a sentence."""
    folder = models.fetch(pretrained)
    report = json.loads((folder / pretraining.REPORT).read_text())
    assert report["perplexity"] < report["unigram_perplexity"] / 2
    model, tokenizer = models.load(pretrained)
    untrained, _ = models.load(start)
    text = ["\n\n".join(data.utility_text("eval")[:10])]
    before, after = (metrics.perplexity(m, tokenizer, text, max_tokens=1024) for m in (untrained, model))
    assert after["nll"] < before["nll"] - 2  # of nine, which is chance
    assert perplexity(model, tokenizer, SENTENCE) < perplexity(untrained, tokenizer, SENTENCE) / 4
    assert perplexity(model, tokenizer, SENTENCE) < perplexity(model, tokenizer, SHUFFLED)


@pytest.mark.smollm2
def test_pretraining_that_learns_nothing_is_refused(tmp_path):
    with pytest.raises(ModelError, match="failed to halve the unigram perplexity"):
        pretraining.build("gpt2-tiny", replace(recipes.QUICK, steps=1, batch_size=1), tmp_path)
    assert list(tmp_path.iterdir()) == []
