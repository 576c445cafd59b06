"""Power, against a published value and against simulated samples."""

import math

import numpy as np
import pytest
from scipy.stats import binom, t

from unlearnkit import stats
from unlearnkit.errors import ConfigError

DRAWS, ERROR = 20_000, 3 * 0.0035


def samples(n, sd, mean):
    values = np.random.default_rng(0).normal(mean, sd, (DRAWS, n))
    se = values.std(axis=1, ddof=1) / math.sqrt(n)
    return values.mean(axis=1), se


def test_tost_power_is_powertosts_for_a_crossover_of_40():
    """sampleN.TOST(CV = 0.3, theta0 = 0.95) of R's PowerTOST: n = 40, power 0.815845, on 38 degrees."""
    se = math.sqrt(2 / 40 * math.log(1 + 0.3**2))
    power = stats.tost_power(39, se * math.sqrt(39), math.log(1.25), math.log(0.95))
    assert power == pytest.approx(0.815845, abs=5e-5)


@pytest.mark.parametrize(("n", "mean", "closest"), [(8, 0.0, math.inf), (12, 0.4, math.inf), (24, 0.1, 0.3)])
def test_tost_power_is_how_often_samples_pass(n, mean, closest):
    estimate, se = samples(n, 1.0, mean)
    half = t.ppf(0.95, n - 1) * se
    passed = (np.abs(estimate) + half < 1) & (np.abs(estimate) <= closest)
    assert stats.tost_power(n, 1.0, 1.0, mean, closest=closest) == pytest.approx(passed.mean(), abs=ERROR)


def test_at_the_margin_power_is_the_level():
    assert stats.tost_power(24, 1.0, 3.0, mean=3.0) == pytest.approx(0.05, abs=1e-3)
    assert stats.below_power(24, 1.0, 3.0, mean=3.0) == pytest.approx(0.05)


@pytest.mark.parametrize("mean", [-0.5, 0.0, 0.5])
def test_below_power_is_how_often_samples_pass(mean):
    estimate, se = samples(10, 1.0, mean)
    passed = estimate + t.ppf(0.95, 9) * se < 0.5
    assert stats.below_power(10, 1.0, 0.5, mean) == pytest.approx(passed.mean(), abs=ERROR)


def test_without_spread_the_mean_decides():
    assert stats.tost_power(8, 0.0, 0.1) == stats.below_power(8, 0.0, 0.1) == 1
    assert stats.tost_power(8, 0.0, 0.1, mean=0.2) == stats.below_power(8, 0.0, 0.1, mean=0.2) == 0


@pytest.mark.parametrize(("n", "needed"), [(8, 8), (10, 9), (20, 15)])
def test_sign_power(n, needed):
    assert stats.sign_power(n, 0.9) == pytest.approx(binom.sf(needed - 1, n, 0.9))
    assert stats.sign_power(n, 1.0) == 1


def test_three_or_five_seeds_have_no_power_at_all():
    assert stats.sign_power(3, 1.0) == stats.sign_power(5, 1.0) == 0


def test_impossible_parameters():
    for call in (stats.tost_power, stats.below_power):
        with pytest.raises(ConfigError, match="n=1"):
            call(1, 1.0, 1.0)
        with pytest.raises(ConfigError, match="sd=nan"):
            call(8, math.nan, 1.0)
    with pytest.raises(ConfigError, match="share=1.5"):
        stats.sign_power(8, 1.5)
