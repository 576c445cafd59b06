"""KLoM: a closed form, its null against simulated populations, and what it refuses."""

import numpy as np
import pytest

from unlearnkit import stats
from unlearnkit.errors import ConfigError, DataError

FACTS = 10


def draw(models, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (models, FACTS))


def test_kl_of_gaussians_is_the_closed_form():
    """Columns of mean 0 and sd 1, mean 1 and sd 2: ln 2 + (1 + 1) / 8 - 1/2."""
    p = np.array([[-1.0], [1.0]]) / np.sqrt(2)
    assert stats.gaussian_kl(p, 2 * p + 1) == pytest.approx(np.log(2) + 2 / 8 - 1 / 2)
    assert stats.gaussian_kl(p, p) == pytest.approx(0)
    assert stats.gaussian_kl(p + 3, p) == pytest.approx(9 / 2)


def test_log_odds():
    p = np.array([0.001, 0.5, 0.999])
    np.testing.assert_allclose(stats.log_odds(-np.log(p)), np.log(p / (1 - p)))
    assert stats.log_odds([1e-12]) == pytest.approx(np.log(1e12), rel=1e-6)  # no cancellation
    with pytest.raises(DataError, match="log-odds are undefined"):
        stats.log_odds([0.5, 0.0])


@pytest.mark.parametrize(
    ("size", "median", "high"), [(10, 0.15, 0.30), (20, 0.073, 0.14), (50, 0.028, 0.054)]
)
def test_the_null_is_that_of_simulated_equal_populations(size, median, high):
    """The medians and 95 % quantiles are of pairs of fresh populations, no halves (simulated apart)."""
    found = [stats.klom(draw(size, k), draw(2 * size, 100 + k), splits=60) for k in range(16)]
    assert {k.size for k in found} == {size}
    assert np.mean([k.null_median for k in found]) == pytest.approx(median, rel=0.1)
    assert np.mean([k.null_high for k in found]) == pytest.approx(high, rel=0.1)


def test_equal_populations_lie_within_the_null_and_shifted_ones_beyond():
    pairs = [(draw(20, k), draw(40, 1000 + k)) for k in range(25)]
    within = [stats.klom(ours, theirs, splits=60).is_beyond_null for ours, theirs in pairs]
    assert np.mean(within) <= 0.05 + 3 * 0.044
    beyond = [stats.klom(ours + 1, theirs, splits=60).is_beyond_null for ours, theirs in pairs]
    assert np.mean(beyond) > 0.95


def test_power_grows_with_the_number_of_models():
    few, more = (stats.klom(draw(n, 1), draw(2 * n, 2)).power for n in (10, 50))
    assert few < 0.6
    assert more > 0.95


def test_a_shift_of_one_fact_shows_in_that_fact():
    ours = draw(30, 0)
    ours[:, 3] += 4
    found = stats.klom(ours, draw(60, 1))
    assert np.argmax(found.per_fact) == 3
    assert not found.is_beyond_null  # a median of facts does not see one alone


@pytest.mark.parametrize(("ours", "theirs"), [(9, 40), (40, 19), (3, 3)])
def test_fewer_than_ten_models_a_side_are_refused(ours, theirs):
    with pytest.raises(DataError, match="noise below 10.*20 oracles of one world"):
        stats.klom(draw(ours, 0), draw(theirs, 1))


def test_what_cannot_be_fitted_is_refused():
    flat = draw(20, 0)
    flat[:, 2] = 0.7
    with pytest.raises(DataError, match="fact 2 has the same margin"):
        stats.klom(flat, draw(20, 1))
    with pytest.raises(DataError, match="9 facts and oracles 10"):
        stats.klom(draw(20, 0)[:, 1:], draw(20, 1))
    with pytest.raises(DataError, match="oracles must be finite"):
        stats.klom(draw(20, 0), draw(20, 1) * np.nan)
    with pytest.raises(ConfigError, match="splits=3"):
        stats.klom(draw(20, 0), draw(20, 1), splits=3)
