"""Membership scores, against plain formulas on full logits."""

import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import ANSWERS as FACTS

from unlearnkit import metrics
from unlearnkit.batching import encode
from unlearnkit.errors import ConfigError, DataError

SCORES = ["loss", "zlib", "min_k", "min_k_pp"]


def plain(model, tokenizer, example, share, loss_on="answer"):
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, loss_on)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens])).logits[0].double()
    own, z = [], []
    for place in (k for k, counts in enumerate(labelled) if counts):
        log_p = logits[place - 1].log_softmax(-1)
        p = log_p.exp()
        mean = (p * log_p).sum()
        spread = (p * log_p**2).sum() - mean**2
        own.append(log_p[tokens[place]].item())
        z.append(((log_p[tokens[place]] - mean) / spread.sqrt()).item())
    count = max(1, int(len(own) * share))
    text = example.answer if loss_on == "answer" else example.text
    loss = np.mean(own)
    size = len(zlib.compress(text.encode()))
    return [loss, loss / size, np.mean(sorted(own)[:count]), np.mean(sorted(z)[:count])]


@pytest.mark.parametrize("loss_on", ["answer", "text"])
def test_scores_are_the_published_formulas(model, tiny_tokenizer, loss_on):
    frame = metrics.membership(model, tiny_tokenizer, FACTS, share=0.4, loss_on=loss_on)
    assert frame["id"].tolist() == [e.id for e in FACTS]
    expected = [plain(model, tiny_tokenizer, e, 0.4, loss_on) for e in FACTS]
    np.testing.assert_allclose(frame[SCORES], expected, rtol=1e-3)


def test_loss_is_minus_the_nll_and_reference_a_difference_of_two(tiny_model, tiny_tokenizer):
    model, other = tiny_model("gpt2"), tiny_model("gpt2", seed=1)
    frame = metrics.membership(model, tiny_tokenizer, FACTS, reference=other)
    nll, before = (metrics.score(m, tiny_tokenizer, FACTS)["nll"] for m in (model, other))
    np.testing.assert_allclose(frame["loss"], -nll, rtol=1e-5)
    np.testing.assert_allclose(frame["reference"], before - nll, rtol=1e-4, atol=1e-5)
    itself = metrics.membership(model, tiny_tokenizer, FACTS, reference=model)
    assert (itself["reference"] == 0).all()
    assert "reference" not in metrics.membership(model, tiny_tokenizer, FACTS)


def test_all_tokens_least_likely_is_the_loss(tiny_model, tiny_tokenizer):
    frame = metrics.membership(tiny_model("llama"), tiny_tokenizer, FACTS, share=1.0)
    np.testing.assert_allclose(frame["min_k"], frame["loss"], rtol=1e-6)


def test_padding_changes_no_score(model, tiny_tokenizer):
    alone, together = (metrics.membership(model, tiny_tokenizer, FACTS, batch_size=size) for size in (1, 5))
    pd.testing.assert_frame_equal(alone, together, rtol=1e-3)


def test_bad_input_is_named(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2")
    with pytest.raises(DataError, match="empty"):
        metrics.membership(model, tiny_tokenizer, [])
    with pytest.raises(ConfigError, match="share=0"):
        metrics.membership(model, tiny_tokenizer, FACTS, share=0)
    with pytest.raises(DataError, match="'a'"):
        metrics.membership(model, tiny_tokenizer, [replace(FACTS[0], answer="")])
