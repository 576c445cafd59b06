"""Distances of distributions."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from unlearnkit import stats


def test_ks_agrees_with_scipy_and_its_interval_is_seeded():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=60), rng.normal(loc=1.0, size=45)
    result = stats.ks(x, y)
    expected = scipy_stats.ks_2samp(x, y)
    assert (result.d, result.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert 0 <= result.ci_low < result.d < result.ci_high <= 1
    assert stats.ks(x, y) == result
    assert stats.ks(x, y, seed=1) != result


def test_ks_extremes():
    apart = stats.ks(np.arange(10), np.arange(10) + 100)
    assert (apart.d, apart.ci_low, apart.ci_high) == (1, 1, 1)
    same = stats.ks(np.arange(50), np.arange(50))
    assert (same.d, same.ci_low, same.p) == (0, 0, 1)
