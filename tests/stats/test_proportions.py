"""Intervals and bounds of a share."""

import math

import pytest
from scipy.stats import binom

from unlearnkit import stats
from unlearnkit.errors import DataError


@pytest.mark.parametrize(("hits", "n"), [(0, 8), (3, 8), (8, 8), (7, 24)])
def test_its_ends_are_where_the_score_test_just_rejects(hits, n):
    """|p_hat - p| = z sqrt(p (1 - p) / n) at both ends, and an end is 0 or 1 where p_hat is."""
    share, z = hits / n, 1.959963984540054
    for end in stats.share_ci(hits, n):
        assert 0 <= end <= 1
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)


def test_a_higher_level_is_wider():
    low, high = stats.share_ci(3, 8)
    wider = stats.share_ci(3, 8, 0.99)
    assert wider[0] < low < 3 / 8 < high < wider[1]


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(DataError, match="no interval"):
        stats.share_ci(hits, n)


@pytest.mark.parametrize(("n", "bound"), [(20, 0.14), (50, 0.058), (100, 0.030), (200, 0.015)])
def test_upper_bound_of_no_hit(n, bound):
    assert stats.exact_upper(0, n) == pytest.approx(bound, rel=0.02)
    assert stats.exact_upper(0, n) == pytest.approx(1 - 0.05 ** (1 / n))


def test_upper_bound_is_where_so_few_hits_become_unlikely():
    assert binom.cdf(3, 20, stats.exact_upper(3, 20)) == pytest.approx(0.05)
    assert stats.exact_upper(20, 20) == 1
    with pytest.raises(DataError, match="no bound"):
        stats.exact_upper(3, 2)
