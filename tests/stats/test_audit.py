"""Audits, against published values, closed forms and planted leaks."""

import math

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import beta, binom

from unlearnkit import stats
from unlearnkit.errors import ConfigError, DataError


def test_one_run_p_is_the_published_one():
    assert stats.one_run_p(75, 100, math.log(3)) == pytest.approx(0.553, abs=5e-4)


@pytest.mark.parametrize(
    ("coins", "guesses", "correct", "delta", "eps"),
    [
        (100, 100, 75, 0.0, 0.702),
        (100, 100, 75, 1e-4, 0.699),
        (1000, 100, 75, 1e-4, 0.673),
        (100_000, 1510, 1439, 1e-5, 2.67585),
    ],
)
def test_one_run_bounds_are_the_published_ones(coins, guesses, correct, delta, eps):
    assert stats.one_run_eps(correct, guesses, delta, coins) == pytest.approx(eps, abs=6e-4)


@pytest.mark.parametrize(("correct", "guesses"), [(75, 100), (20, 20), (9, 12)])
def test_without_delta_the_bound_is_a_clopper_pearson_bound_through_the_logit(correct, guesses):
    lower = beta.ppf(0.05, correct, guesses - correct + 1)
    assert stats.one_run_eps(correct, guesses) == pytest.approx(max(0, logit(lower)), abs=1e-8)


def test_guessing_by_chance_gives_no_bound_and_a_p_that_keeps_its_level():
    assert stats.one_run_eps(50, 100) == 0
    assert stats.one_run_p(0, 10) == 1
    chances, p = binom.pmf(range(41), 40, 0.5), [stats.unlearning_audit(v, 40).p for v in range(41)]
    for level in (0.05, 0.2, 0.5):
        assert level / 3 < chances[np.array(p) <= level].sum() <= level


def test_an_audit_of_unlearning_halves_the_bound_and_tells_its_ceiling():
    found = stats.unlearning_audit(75, 100)
    assert found.eps == pytest.approx(0.702 / 2, abs=5e-4)
    assert found.ceiling == pytest.approx(logit(0.05 ** (1 / 100)) / 2)
    assert found.ci_low < 0.75 < found.ci_high
    nothing_done = stats.unlearning_audit(38, 40)
    assert nothing_done.p < 1e-3
    assert nothing_done.eps < nothing_done.ceiling


@pytest.mark.parametrize(
    ("counts", "eps"),
    [((90, 100, 10, 100), 1.5422), ((75, 100, 25, 100), 0.6342), ((50, 100, 0, 100), 2.3977)],
)
def test_two_populations(counts, eps):
    assert stats.eps_from_rates(*counts) == pytest.approx(eps, abs=5e-5)


CEILINGS = {10: 0.807, 20: 1.597, 50: 2.570, 100: 3.281, 200: 3.984, 512: 4.929, 1000: 5.601}


@pytest.mark.parametrize(("runs", "ceiling"), CEILINGS.items())
def test_ceilings_of_perfect_separation(runs, ceiling):
    assert stats.eps_ceiling(runs) == pytest.approx(ceiling, abs=5e-4)


def test_more_thresholds_and_delta_lower_the_bound_and_nothing_told_apart_gives_0():
    one = stats.eps_from_rates(90, 100, 10, 100)
    assert stats.eps_from_rates(90, 100, 10, 100, thresholds=10) < one
    assert stats.eps_from_rates(90, 100, 10, 100, delta=0.1) < one
    assert stats.eps_from_rates(50, 100, 50, 100) == 0
    assert stats.eps_from_rates(0, 100, 100, 100) == 0  # the wrong way round: the direction was fixed before


@pytest.mark.parametrize("correct", [-1, 11])
def test_impossible_counts_are_refused(correct):
    for call in (stats.one_run_p, stats.unlearning_audit):
        with pytest.raises(DataError, match="right of 10 guesses"):
            call(correct, 10)
    with pytest.raises(DataError, match="no rates"):
        stats.eps_from_rates(correct, 10, 0, 10)
    with pytest.raises(DataError, match="12 guesses about 10 coins"):
        stats.one_run_p(3, 12, coins=10)
    with pytest.raises(ConfigError, match="delta=1"):
        stats.one_run_p(3, 10, delta=1)
    with pytest.raises(ConfigError, match="thresholds=0"):
        stats.eps_from_rates(1, 2, 0, 2, thresholds=0)
