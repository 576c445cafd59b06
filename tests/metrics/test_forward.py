"""What every metric keeps to: padding changes nothing, the model stays, bad input is named."""

import math

import pandas as pd
import pytest
import torch
from worlds import ANSWERS as FACTS
from worlds import TEXTS

from unlearnkit import metrics
from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError, DivergenceError
from unlearnkit.layers import blocks
from unlearnkit.metrics.likelihood import answer_tokens


def test_padding_changes_no_metric(model, tiny_tokenizer, monkeypatch):
    """Alone or in a batch, whatever side the tokenizer would pad: the same value of every metric."""

    def everything(size):
        scores = metrics.score(model, tiny_tokenizer, FACTS, size)
        influence = metrics.activation_gradient(model, tiny_tokenizer, FACTS, size)
        return scores.merge(influence), metrics.continuations(model, tiny_tokenizer, FACTS, size)

    alone = everything(1)
    for side in ("left", "right"):
        monkeypatch.setattr(tiny_tokenizer, "padding_side", side)
        scores, said = everything(5)
        pd.testing.assert_frame_equal(scores, alone[0], rtol=1e-4)
        assert said == alone[1]


def test_left_and_right_padded_batches_score_the_same(model, tiny_tokenizer):
    with torch.no_grad():
        right = answer_tokens(model, batch_of(tiny_tokenizer, FACTS, side="right"))
        left = answer_tokens(model, batch_of(tiny_tokenizer, FACTS, side="left"))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_a_head_that_cannot_be_hooked_gives_the_same_scores(model, tiny_tokenizer, monkeypatch):
    fast = metrics.score(model, tiny_tokenizer, FACTS), metrics.continuations(model, tiny_tokenizer, FACTS)
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    slow = metrics.score(model, tiny_tokenizer, FACTS), metrics.continuations(model, tiny_tokenizer, FACTS)
    pd.testing.assert_frame_equal(slow[0], fast[0])
    assert slow[1] == fast[1]


def test_the_head_sees_answer_positions_only(model, tiny_tokenizer):
    seen = []
    hook = model.get_output_embeddings().register_forward_hook(lambda m, a, out: seen.append(out.shape))
    frame = metrics.score(model, tiny_tokenizer, FACTS)
    hook.remove()
    assert [shape[:-1].numel() for shape in seen] == [frame["n_tokens"].sum()]


def test_a_metric_leaves_the_model_as_it_was(model, tiny_tokenizer):
    model.train()
    for p in model.parameters():
        p.requires_grad_(False)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    metrics.score(model, tiny_tokenizer, FACTS)
    metrics.continuations(model, tiny_tokenizer, FACTS)
    metrics.activation_gradient(model, tiny_tokenizer, FACTS)
    metrics.perplexity(model, tiny_tokenizer, TEXTS)
    assert model.training
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_dropout_is_off(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", True)
    calm = metrics.score(model, tiny_tokenizer, FACTS)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    pd.testing.assert_frame_equal(metrics.score(model.train(), tiny_tokenizer, FACTS), calm)


@pytest.mark.parametrize("metric", [metrics.score, metrics.continuations, metrics.activation_gradient])
def test_bad_input_is_named(metric, tiny_model, tiny_tokenizer):
    model = tiny_model("llama", True)
    with pytest.raises(DataError, match="empty"):
        metric(model, tiny_tokenizer, [])
    with pytest.raises(ConfigError, match="batch_size=0"):
        metric(model, tiny_tokenizer, FACTS, batch_size=0)
    with pytest.raises(DataError, match="'z'"):
        metric(model, tiny_tokenizer, [*FACTS, Example("z", "Dave", "", "x", "forget")])


def test_a_diverged_model_is_an_error(model, tiny_tokenizer):
    blocks(model)[1][-1].register_forward_hook(
        lambda m, a, out: (out[0] * math.nan,) if isinstance(out, tuple) else out * math.nan
    )
    for metric in (metrics.score, metrics.activation_gradient):
        with pytest.raises(DivergenceError, match="not finite"):
            metric(model, tiny_tokenizer, FACTS)
    with pytest.raises(DivergenceError, match="not finite"):
        metrics.perplexity(model, tiny_tokenizer, TEXTS)


def test_bad_texts_and_lists_are_named(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", True)
    for texts in ([], ["", "x"]):
        with pytest.raises(DataError, match="nothing to predict"):
            metrics.perplexity(model, tiny_tokenizer, texts)
    for name in ("max_tokens", "context"):
        with pytest.raises(ConfigError, match=f"{name}=0"):
            metrics.perplexity(model, tiny_tokenizer, TEXTS, **{name: 0})
    with pytest.raises(DataError, match="1 predictions for 2 references"):
        metrics.rouge(["a"], ["a", "b"])
    with pytest.raises(DataError, match=r"reference 1 \('--'\)"):
        metrics.rouge(["a", "b"], ["a", "--"])
