"""What the pretraining taught gpt2-tiny."""

import json
from dataclasses import replace

import pytest
from worlds import SENTENCE, SHUFFLED, perplexity

from unlearnkit import models
from unlearnkit.errors import ModelError
from unlearnkit.models import pretraining, recipes


@pytest.mark.smollm2
def test_quick_pretraining_taught_the_model(tmp_path):
    """The cached model beats half of the unigram perplexity, by its report and on a sentence."""
    folder = models.fetch("gpt2-tiny-pretrained-quick")
    report = json.loads((folder / pretraining.REPORT).read_text())
    assert report["perplexity"] < report["unigram_perplexity"] / 2
    model, tokenizer = models.load("gpt2-tiny-pretrained-quick")
    untrained, _ = models.load("gpt2-tiny")
    assert perplexity(model, tokenizer, SENTENCE) < perplexity(untrained, tokenizer, SENTENCE) / 4
    assert perplexity(model, tokenizer, SENTENCE) < perplexity(model, tokenizer, SHUFFLED)


@pytest.mark.smollm2
def test_pretraining_that_learns_nothing_is_refused(tmp_path):
    with pytest.raises(ModelError, match="failed to halve the unigram perplexity"):
        pretraining.build(replace(recipes.QUICK, steps=1, batch_size=1), tmp_path)
    assert list(tmp_path.iterdir()) == []
