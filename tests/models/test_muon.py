"""Muon against torch's own."""

import pytest
import torch

from unlearnkit.models import muon


def test_muon_is_torch_muon_in_single_precision():
    """Against torch's own, which rounds to bfloat16: 8 bits of a number."""
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(24, 8)) for _ in range(2))
    optimizers = [
        muon.Muon([ours], lr=0.01),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(3):
        ours.grad = torch.randn(24, 8)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - 1).norm()
    assert (ours - theirs).norm() < 0.02 * moved


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (8, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(muon.orthogonalised(torch.randn(shape)))
    assert values.min() > 0.4
    assert values.max() < 1.3
