"""Rounded weights: the grid by hand, what is rounded, and that it comes off."""

import numpy as np
import pytest
import torch
from architectures import architecture
from worlds import ANSWERS as FACTS
from worlds import same, weights_of

from unlearnkit import metrics
from unlearnkit.errors import ConfigError, LayerError
from unlearnkit.metrics.quantisation import round_to_nearest


def test_the_grid_by_hand():
    weight = torch.tensor([[7.0, -3.4, 0.0, 0.6], [0.0, 0.0, 0.0, 0.0], [0.07, 0.034, -0.07, 0.001]])
    expected = torch.tensor([[7.0, -3.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.07, 0.03, -0.07, 0.0]])
    torch.testing.assert_close(round_to_nearest(weight, 4), expected)
    torch.testing.assert_close(round_to_nearest(weight.T, 4, axis=0), expected.T)


@pytest.mark.parametrize("bits", [8, 4])
def test_an_error_is_at_most_half_a_step_and_rounding_twice_is_rounding_once(bits):
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    once = round_to_nearest(weight, bits)
    step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert ((once - weight).abs() <= step / 2 * (1 + 1e-5)).all()
    assert max(len(row.unique()) for row in once) <= 2**bits - 1
    torch.testing.assert_close(round_to_nearest(once, bits), once)


@pytest.mark.parametrize("bits", [8, 4])
def test_every_matrix_has_one_scale_an_output_channel_and_all_come_back(model, tiny_tokenizer, bits):
    """A channel is what makes one output: a column of GPT-2's matrices, a row of the others."""
    before, plain = weights_of(model), metrics.score(model, tiny_tokenizer, FACTS)["nll"]
    with metrics.quantised(model, bits):
        inside, nll = weights_of(model), metrics.score(model, tiny_tokenizer, FACTS)["nll"]
    assert same(weights_of(model), before)
    assert metrics.score(model, tiny_tokenizer, FACTS)["nll"].equals(plain)
    assert not np.allclose(nll, plain)
    for name, weight in inside.items():
        if weight.dim() == 1:
            assert torch.equal(weight, before[name])
            continue
        turned = any(part in name for part in ("c_attn", "c_proj", "c_fc"))
        channels = (weight.T, before[name].T) if turned else (weight, before[name])
        torch.testing.assert_close(channels[0], round_to_nearest(channels[1], bits))


def test_more_bits_change_less(model, tiny_tokenizer):
    plain, off = metrics.score(model, tiny_tokenizer, FACTS)["nll"], {}
    for bits in (8, 4):
        with metrics.quantised(model, bits):
            off[bits] = (metrics.score(model, tiny_tokenizer, FACTS)["nll"] - plain).abs().mean()
    assert off[8] < off[4] / 2


def test_frozen_weights_are_rounded_and_other_layers_are_not(tiny_model):
    model = tiny_model("llama")
    for p in model.parameters():
        p.requires_grad_(False)
    before = weights_of(model)
    with metrics.quantised(model, 4, layers="block.1"):
        changed = {n for n, p in weights_of(model).items() if not torch.equal(p, before[n])}
    assert changed
    assert all(".1." in name and "norm" not in name for name in changed)
    assert same(weights_of(model), before)


def test_weights_come_back_after_an_error(tiny_model):
    model = tiny_model("gpt2")
    before = weights_of(model)
    with pytest.raises(RuntimeError, match="inside"), metrics.quantised(model, 4):
        raise RuntimeError("inside")
    assert same(weights_of(model), before)
    with pytest.raises(ConfigError, match="bits=1"), metrics.quantised(model, 1):
        pass
    with pytest.raises(LayerError, match="block.9"), metrics.quantised(model, 8, layers="block.9"):
        pass
    assert same(weights_of(model), before)


@pytest.mark.parametrize("name", ["mixtral", "mamba", "gptj", "opt"])
def test_other_architectures_come_back_too(name):
    model = architecture(name)
    before = weights_of(model)
    with metrics.quantised(model, 4):
        assert not same(weights_of(model), before)
    assert same(weights_of(model), before)
