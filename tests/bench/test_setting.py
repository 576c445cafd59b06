"""Random models."""

import torch

from unlearnkit.bench.setting import random_gpt2


def test_random_shapes():
    model = random_gpt2("gpt2-shape-3x128")
    assert {getattr(model.config, f"{kind}_pdrop") for kind in ("attn", "resid", "embd")} == {0.0}
    assert (model.config.n_layer, model.config.n_embd, model.config.vocab_size) == (3, 128, 8192)
    assert torch.equal(model.transformer.wte.weight, random_gpt2("gpt2-shape-3x128").transformer.wte.weight)
