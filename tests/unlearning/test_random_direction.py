"""Random, and as long as the true gradient in every parameter."""

import pytest
import torch
from unlearning_helpers import REQUEST, error, same


def test_a_random_direction_is_as_long_in_every_parameter(trained):
    reference, noise = trained.book.sum(REQUEST), trained.direction("random_direction")
    for name, gradient in reference.items():
        if gradient.norm() > 1e-3:  # below that the subtraction of weights is all rounding
            assert noise[name].norm() == pytest.approx(gradient.norm().item(), rel=1e-2)
            cosine = torch.nn.functional.cosine_similarity(noise[name].flatten(), gradient.flatten(), dim=0)
            assert abs(cosine) < 0.9
    assert same(trained.direction("random_direction", seed=0), noise)
    assert error(trained.direction("random_direction", seed=1), noise) > 1
