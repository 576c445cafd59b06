"""The true gradient on random coordinates."""

import pytest
import torch
from unlearning_helpers import REQUEST, norm_of, same

from unlearnkit import unlearning
from unlearnkit.unlearning.methods.random_subset import random_subset


def test_random_subset_is_the_gradient_on_some_coordinates(trained):
    """As many as `like` has, drawn over the layers; each one the true value times one factor."""
    reference = trained.book.sum(REQUEST)
    inputs = unlearning.Inputs("random_subset", trained.model, REQUEST, ledger=trained.book)
    masked = dict(random_subset(inputs, like="last2", seed=4))
    flat = {n: (masked[n].flatten(), reference[n].flatten()) for n in reference}
    values, truth = (torch.cat([pair[k] for pair in flat.values()]) for k in (0, 1))
    nonzero = truth != 0
    kept = (values != 0) & nonzero
    share = sum(p.numel() for n, p in trained.model.named_parameters() if ".h.1." in n or ".h.2." in n)
    share /= sum(p.numel() for p in trained.model.parameters())
    assert kept.sum().item() / nonzero.sum().item() == pytest.approx(share, abs=0.03)
    factors = values[kept] / truth[kept]
    assert factors.std() / factors.mean() < 1e-4
    assert norm_of(masked) == pytest.approx(norm_of(reference), rel=1e-5)
    again = dict(random_subset(inputs, like="last2", seed=5))
    assert not same(masked, again)
