"""Relearning curves: the steps are training's, and the weights come back."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import FACTS, same, weights_of

from unlearnkit import metrics, training
from unlearnkit.errors import ConfigError, DataError, DivergenceError, LayerError

TAUGHT, HELD = FACTS[:4], FACTS[4:]
RECIPE = training.Recipe("adamw", lr=1e-3, batch_size=2, epochs=1)


def curves(model, tokenizer, steps=(0, 1, 4), recipe=RECIPE, **changes):
    given = {"taught": TAUGHT, "held": HELD} | changes
    return metrics.relearn(model, tokenizer, given["taught"], given["held"], recipe, steps)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_curve_is_that_of_a_fine_tuning_of_as_many_steps(model, tiny_tokenizer, optimizer):
    recipe = training.Recipe(optimizer, lr=1e-3, batch_size=2, epochs=2)
    frame = curves(model, tiny_tokenizer, recipe=recipe)
    assert frame.columns.tolist() == ["step", "id", "nll"]
    tuned = deepcopy(model)
    training.fine_tune(tuned, tiny_tokenizer, TAUGHT, recipe, progress=False)  # 2 epochs of 2 steps
    for step, standing in ((0, model), (4, tuned)):
        expected = metrics.score(standing, tiny_tokenizer, HELD)
        own = frame[frame["step"] == step]
        assert own["id"].tolist() == expected["id"].tolist()
        np.testing.assert_allclose(own["nll"], expected["nll"], rtol=1e-5)


def test_weights_come_back_bit_for_bit(model, tiny_tokenizer):
    before, model = weights_of(model), model.train()
    one, two = curves(model, tiny_tokenizer), curves(model, tiny_tokenizer)
    assert same(weights_of(model), before)
    assert model.training
    assert not any(p.grad is not None for p in model.parameters())
    pd.testing.assert_frame_equal(one, two)


def test_weights_come_back_after_a_divergence(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2")
    before = weights_of(model)
    with pytest.raises(DivergenceError):
        curves(model, tiny_tokenizer, (30,), training.Recipe("sgd", lr=1e20, batch_size=2))
    assert same(weights_of(model), before)


def test_what_is_taught_elsewhere_is_learnt_and_a_longer_curve_begins_the_same(tiny_model, tiny_tokenizer):
    model = tiny_model("llama")
    held = [FACTS[0].__class__("again", "Dave", FACTS[0].prompt, FACTS[0].answer, "forget")]
    short, longer = (curves(model, tiny_tokenizer, steps, held=held) for steps in ((0, 8), (0, 8, 40)))
    pd.testing.assert_frame_equal(short, longer[longer["step"] <= 8])
    assert longer["nll"].iloc[-1] < longer["nll"].iloc[0] - 0.5


def test_bad_input_is_named(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2")
    with pytest.raises(DataError, match="'f0' is both taught and held"):
        curves(model, tiny_tokenizer, held=FACTS[:1])
    with pytest.raises(DataError, match="empty"):
        curves(model, tiny_tokenizer, taught=[])
    with pytest.raises(ConfigError, match=r"steps=\[-1, 2\]"):
        curves(model, tiny_tokenizer, (2, -1))
    with pytest.raises(ConfigError, match="constant rate"):
        curves(model, tiny_tokenizer, recipe=training.Recipe(lr_schedule="linear"))
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(LayerError, match="no trainable"):
        curves(model, tiny_tokenizer)


def test_only_the_recipes_layers_move(tiny_model, tiny_tokenizer, monkeypatch):
    model, moved = tiny_model("llama"), set()
    before = weights_of(model)

    def look(model, *_):
        moved.update(n for n, p in weights_of(model).items() if not torch.equal(p, before[n]))
        return pd.DataFrame({"id": ["x"], "nll": [0.0]})

    monkeypatch.setattr("unlearnkit.metrics.relearning.score", look)
    curves(model, tiny_tokenizer, recipe=training.Recipe(lr=0.1, layers=("block.1",)))
    assert moved
    assert all(".1." in name for name in moved)
