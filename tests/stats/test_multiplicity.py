"""Holm's correction."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from unlearnkit import stats


@pytest.mark.parametrize("n", [1, 2, 9])
def test_holm_is_that_of_statsmodels(n):
    p = np.random.default_rng(n).uniform(0, 0.2, n)
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_by_hand():
    """0.01 x 4, then 0.03 x 3, the running maximum keeps the order, and 0.04 takes it over."""
    assert stats.holm([0.01, 0.04, 0.03, 0.6]) == pytest.approx([0.04, 0.09, 0.09, 0.6])
    assert stats.holm([0.7, 0.8]) == pytest.approx([1.0, 1.0])
