"""Paired tests, effect sizes and intervals, against scipy, pingouin and closed forms."""

import math

import numpy as np
import pingouin
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower
from worlds import AFTER, BEFORE

from unlearnkit import stats


def test_paired_t_agrees_with_scipy_and_with_its_own_effect_size():
    result = stats.paired_t(BEFORE, AFTER)
    expected = scipy_stats.ttest_rel(AFTER, BEFORE)
    assert (result.t, result.p, result.df) == pytest.approx((expected.statistic, expected.pvalue, 7))
    interval = expected.confidence_interval(0.95)
    assert (result.ci_low, result.ci_high) == pytest.approx(tuple(interval))
    assert result.t == pytest.approx(result.d_z * math.sqrt(result.n))


def test_the_sign_is_that_of_after_minus_before():
    up, down = stats.paired_t(BEFORE, AFTER), stats.paired_t(AFTER, BEFORE)
    assert up.mean_diff > 0
    for name in ("mean_diff", "t", "d_z", "d_av", "d_rms", "g_z"):
        assert getattr(up, name) == pytest.approx(-getattr(down, name))


def test_effect_sizes_by_definition_and_by_pingouin():
    result = stats.paired_t(BEFORE, AFTER)
    b, a = np.array(BEFORE), np.array(AFTER)
    assert result.d_av == pytest.approx((a - b).mean() / ((a.std(ddof=1) + b.std(ddof=1)) / 2))
    assert result.d_rms == pytest.approx(pingouin.compute_effsize(a, b, paired=True, eftype="cohen"))
    j = 1 - 3 / (4 * 7 - 1)
    for kind in ("z", "av", "rms"):
        assert getattr(result, f"g_{kind}") == pytest.approx(j * getattr(result, f"d_{kind}"))


def test_the_papers_range_of_d_in_t_values():
    """paper.md, section 4, point 8: with n = 10, d_z 1.94 and 4.23 are t 6.13 and 13.38."""
    noise = np.array([-1.5, -1, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 1, 1.5])
    noise /= noise.std(ddof=1)
    for d, t in ((1.94, 6.13), (4.23, 13.38)):
        result = stats.paired_t(np.zeros(10), noise + d)
        assert (result.d_z, result.t) == pytest.approx((d, t), abs=0.005)


def test_wilcoxon_agrees_with_scipy():
    expected = scipy_stats.wilcoxon(AFTER, BEFORE)
    result = stats.wilcoxon(BEFORE, AFTER)
    assert (result.n, result.w, result.p) == (8, expected.statistic, expected.pvalue)


def test_wilcoxon_is_none_where_it_cannot_reach_significance():
    assert stats.wilcoxon(BEFORE[:5], AFTER[:5]) is None
    same = [*BEFORE[:5], 1.0, 2.0]
    assert stats.wilcoxon(same, [*AFTER[:5], 1.0, 2.0]) is None  # seven pairs, five of which differ
    assert stats.wilcoxon(BEFORE[:6], AFTER[:6]) is not None


def test_resampled_d_is_that_of_scipy_on_the_same_resamples():
    from unlearnkit.stats.distributions import _resampled_d

    rng = np.random.default_rng(0)
    x, y = np.round(rng.normal(size=30), 1), np.round(rng.normal(0.5, size=20), 1)  # with ties
    ours = _resampled_d(x, y, 2000, np.random.default_rng(1))
    theirs = [
        scipy_stats.ks_2samp(rng.choice(x, 30), rng.choice(y, 20), method="asymp").statistic
        for _ in range(2000)
    ]
    assert np.quantile(ours, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(theirs, [0.1, 0.5, 0.9]), abs=0.03)


def test_mean_ci_is_the_one_sample_t_interval():
    result = stats.mean_ci(BEFORE)
    expected = scipy_stats.ttest_1samp(BEFORE, 0).confidence_interval(0.95)
    assert (result.ci_low, result.ci_high) == pytest.approx(tuple(expected))
    flat = stats.mean_ci([0.0, 0.0, 0.0])  # a no-op control
    assert (flat.mean, flat.ci_low, flat.ci_high) == (0, 0, 0)


@pytest.mark.parametrize("n", [2, 3, 6, 20, 200])
def test_mde_has_the_power_it_promises(n):
    effect = stats.mde(n, sd=0.5)
    assert TTestPower().power(effect / 0.5, n, 0.05) == pytest.approx(0.8, abs=1e-5)
    assert stats.mde(n, sd=1.0) == pytest.approx(2 * effect)
