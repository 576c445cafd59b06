"""The gradient of a block's scale."""

import pytest
import torch
from worlds import ANSWERS as FACTS
from worlds import plain_answer

from unlearnkit import metrics
from unlearnkit.layers import blocks


def test_influence_is_that_of_scaling_each_block(model, tiny_tokenizer):
    """sum_l <a_l, dL/da_l> is d/ds of the loss when block l's output is scaled by s, summed over l."""
    model.double()
    frame = metrics.activation_gradient(model, tiny_tokenizer, FACTS)
    assert frame["id"].tolist() == ["a", "b", "c", "d", "e"]

    def losses(block, scale):
        def scaled(_module, _args, out):
            return (out[0] * scale, *out[1:]) if isinstance(out, tuple) else out * scale

        hook = block.register_forward_hook(scaled)
        try:
            every = [plain_answer(model, tiny_tokenizer, e)[0] for e in FACTS]
            return torch.tensor([sum(nll) / len(nll) for nll in every], dtype=torch.double)
        finally:
            hook.remove()

    step = 3e-3  # Llama's norm computes in single precision, so not smaller
    slopes = sum((losses(b, 1 + step) - losses(b, 1 - step)) / (2 * step) for b in blocks(model)[1])
    assert frame["influence"].tolist() == pytest.approx(slopes.tolist(), rel=1e-2, abs=1e-3)
