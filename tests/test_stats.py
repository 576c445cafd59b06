"""Statistics against scipy, statsmodels, pingouin and closed forms, and their refusal of degenerate data."""

import math

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from unlearnkit import stats
from unlearnkit.errors import ConfigError, DataError

BEFORE = [2.31, 1.87, 2.94, 2.02, 3.10, 1.55, 2.48, 2.77]
AFTER = [3.05, 2.11, 3.02, 2.95, 3.64, 2.20, 2.41, 3.33]


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


@pytest.mark.parametrize("n", [1, 2, 9])
def test_holm_is_that_of_statsmodels(n):
    p = np.random.default_rng(n).uniform(0, 0.2, n)
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_by_hand():
    """0.01 x 4, then 0.03 x 3, the running maximum keeps the order, and 0.04 takes it over."""
    assert stats.holm([0.01, 0.04, 0.03, 0.6]) == pytest.approx([0.04, 0.09, 0.09, 0.6])
    assert stats.holm([0.7, 0.8]) == pytest.approx([1.0, 1.0])


def test_tost_agrees_with_pingouin_and_with_its_interval():
    shifted = np.array(AFTER) - 0.45
    diff = shifted - np.array(BEFORE)
    for margin in (0.2, 0.5):
        result = stats.tost(diff, margin)
        assert result.p == pytest.approx(
            pingouin.tost(shifted, BEFORE, bound=margin, paired=True)["pval"].item()
        )
        inside = -margin < result.ci_low and result.ci_high < margin
        assert result.equivalent == (result.p < 0.05) == inside
    assert stats.tost(diff, 0.5).equivalent
    assert not stats.tost(diff, 0.2).equivalent


def test_ks_agrees_with_scipy_and_its_interval_is_seeded():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=60), rng.normal(loc=1.0, size=45)
    result = stats.ks(x, y)
    expected = scipy_stats.ks_2samp(x, y)
    assert (result.d, result.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert 0 <= result.ci_low < result.d < result.ci_high <= 1
    assert stats.ks(x, y) == result
    assert stats.ks(x, y, seed=1) != result


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


def test_ks_extremes():
    apart = stats.ks(np.arange(10), np.arange(10) + 100)
    assert (apart.d, apart.ci_low, apart.ci_high) == (1, 1, 1)
    same = stats.ks(np.arange(50), np.arange(50))
    assert (same.d, same.ci_low, same.p) == (0, 0, 1)


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


def nested(effect: float, slope_sd: float, n_seeds: int = 5, n_facts: int = 8) -> pd.DataFrame:
    """Synthetic observations: facts within seeds, each under two conditions."""
    rng = np.random.default_rng(7)
    seed, fact, treated = (
        a.ravel() for a in np.meshgrid(range(n_seeds), range(n_facts), [0, 1], indexing="ij")
    )
    value = (
        rng.normal(size=n_seeds)[seed]
        + rng.normal(size=(n_seeds, n_facts))[seed, fact]
        + treated * (effect + rng.normal(scale=slope_sd, size=n_seeds)[seed])
        + rng.normal(scale=0.3, size=len(seed))
    )
    arm = np.where(treated == 1, "first_epoch", "all_epochs")
    return pd.DataFrame({"nll": value, "method": arm, "id": fact, "seed": seed})


def test_mixed_model_on_balanced_data_is_the_paired_t_over_seed_means():
    frame = nested(effect=1.0, slope_sd=0.5)
    model = stats.mixed_model(frame, "nll", "method", "id", "seed")
    means = frame.pivot_table(values="nll", index="seed", columns="method")
    paired = stats.paired_t(means["all_epochs"], means["first_epoch"])
    assert (model.reference, model.level, model.n_seeds) == ("all_epochs", "first_epoch", 5)
    assert model.estimate == pytest.approx(paired.mean_diff)
    assert (model.ci_low, model.ci_high) == pytest.approx((paired.ci_low, paired.ci_high), rel=1e-2)
    assert model.p == pytest.approx(paired.p, rel=1e-2)


def test_mixed_model_does_not_count_examples_as_replicates():
    """Seeds that disagree leave the effect uncertain, however many facts each has."""
    frame = nested(effect=0.6, slope_sd=2.0, n_facts=20)
    first, second = (frame[frame["method"] == m]["nll"].to_numpy() for m in ("all_epochs", "first_epoch"))
    assert stats.paired_t(first, second).p < 0.01  # facts as replicates
    assert stats.mixed_model(frame, "nll", "method", "id", "seed").p > 0.2


def test_mixed_model_uses_the_categorical_order_and_ignores_the_row_order():
    frame = nested(effect=1.0, slope_sd=0.5)
    forward = stats.mixed_model(frame, "nll", "method", "id", "seed")
    order = ["first_epoch", "all_epochs", "unused"]
    frame["method"] = pd.Categorical(frame["method"], categories=order)
    turned = stats.mixed_model(frame.sample(frac=1, random_state=0), "nll", "method", "id", "seed")
    assert turned.reference == "first_epoch"
    assert turned.estimate == pytest.approx(-forward.estimate, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.drop(columns="id"), "no column 'id'"),
        (lambda f: f.assign(nll=f["nll"].where(f["id"] > 0)), "'nll' has missing values"),
        (lambda f: f.assign(nll=1.0), "zero variance"),
        (lambda f: f.assign(method="same"), "two levels; it has 1"),
        (lambda f: f.assign(seed=0), "at least 2"),
        (lambda f: f.assign(nll=(f["method"] == "first_epoch") * 1.0), "did not converge"),
    ],
)
def test_mixed_model_refuses(change, match):
    with pytest.raises(DataError, match=match):
        stats.mixed_model(change(nested(1.0, 0.5)), "nll", "method", "id", "seed")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: stats.paired_t([1.0], [2.0]), "at least 2"),
        (lambda: stats.paired_t([1.0, 2.0, 3.0], [2.0, 3.0]), "needs pairs"),
        (lambda: stats.paired_t([1.0, math.nan], [2.0, 3.0]), "before holds nan at place 1"),
        (lambda: stats.paired_t([1.0, 2.0], [math.inf, 3.0]), "after holds inf at place 0"),
        (lambda: stats.paired_t([1.0, 2.0, 4.0], [1.1, 2.1, 4.1]), "zero variance"),
        (lambda: stats.paired_t([[1.0, 2.0]], [[2.0, 3.0]]), "flat list"),
        (lambda: stats.wilcoxon([1.0] * 7, [2.0] * 6), "needs pairs"),
        (lambda: stats.holm([]), "at least 1"),
        (lambda: stats.holm([0.1, 1.2]), "holds 1.2"),
        (lambda: stats.holm([0.1, math.nan]), "holds nan"),
        (lambda: stats.tost([0.1], 0.5), "at least 2"),
        (lambda: stats.tost([0.0, 0.0, 0.0], 0.5), "zero variance"),
        (lambda: stats.ks([1.0], [1.0, 2.0]), "x has 1 value"),
        (lambda: stats.ks([1.0, 2.0], [1.0, math.nan]), "y holds nan"),
        (lambda: stats.mean_ci([3.0]), "at least 2"),
    ],
)
def test_degenerate_samples_are_data_errors(call, match):
    with pytest.raises(DataError, match=match):
        call()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: stats.tost([0.1, 0.2], 0), "margin=0"),
        (lambda: stats.tost([0.1, 0.2], math.nan), "margin=nan"),
        (lambda: stats.tost([0.1, 0.2], 0.5, alpha=5), "alpha=5"),
        (lambda: stats.paired_t(BEFORE, AFTER, level=95), "level=95"),
        (lambda: stats.mean_ci(BEFORE, level=1), "level=1"),
        (lambda: stats.ks(BEFORE, AFTER, resamples=10), "resamples=10"),
        (lambda: stats.mde(1, 1.0), "n=1"),
        (lambda: stats.mde(10, 0.0), "sd=0.0"),
        (lambda: stats.mde(10, 1.0, power=0.01), "power=0.01"),
    ],
)
def test_impossible_parameters_are_config_errors(call, match):
    with pytest.raises(ConfigError, match=match):
        call()
