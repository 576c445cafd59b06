"""AUC against scipy and statsmodels, intervals by their coverage."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from statsmodels.stats.nonparametric import rank_compare_2indep

from unlearnkit import stats
from unlearnkit.errors import DataError

RNG = np.random.default_rng(0)
MEMBERS, OTHERS = RNG.normal(0.8, 1, 30).round(1), RNG.normal(0, 1.3, 50).round(1)  # ties too


def test_auc_is_u_over_the_pairs_and_the_interval_near_delongs():
    found = stats.auc(MEMBERS, OTHERS)
    assert found.auc == mannwhitneyu(MEMBERS, OTHERS).statistic / (30 * 50)
    peer = rank_compare_2indep(MEMBERS, OTHERS, use_t=False)
    assert found.auc == pytest.approx(peer.prob1)
    np.testing.assert_allclose((found.ci_low, found.ci_high), peer.conf_int(), atol=0.02)
    turned = stats.auc(OTHERS, MEMBERS)
    assert (turned.auc, turned.ci_low) == pytest.approx((1 - found.auc, 1 - found.ci_high))


def test_perfect_ranking_has_an_interval():
    found = stats.auc([2.0, 3.0, 4.0], [0.0, 1.0])
    assert (found.auc, found.ci_high) == (1, 1)
    assert 0.2 < found.ci_low < 0.8


@pytest.mark.parametrize("shift", [0.0, 1.5, 3.0])
def test_the_interval_covers_the_truth(shift):
    """P(X > Y) of two normals is Phi(shift / sqrt 2); also near 1, where few pairs are out of order."""
    rng, truth, draws = np.random.default_rng(1), norm.cdf(shift / np.sqrt(2)), 300
    found = [stats.auc(rng.normal(shift, 1, 20), rng.normal(0, 1, 20)) for _ in range(draws)]
    assert np.mean([f.ci_low <= truth <= f.ci_high for f in found]) > 0.95 - 3 * 0.013


def test_difference_from_a_model_that_ranks_nothing_is_delongs_interval_of_one():
    found = stats.auc_difference((MEMBERS, OTHERS), (np.zeros(30), np.zeros(50)))
    assert found.second == 0.5
    peer = rank_compare_2indep(MEMBERS, OTHERS, use_t=False)
    np.testing.assert_allclose((found.ci_low + 0.5, found.ci_high + 0.5), peer.conf_int())


def test_paired_interval_covers_the_true_difference_and_is_shorter_than_an_unpaired_one():
    rng, held, draws = np.random.default_rng(2), [], 500
    for _ in range(draws):
        x, y = rng.normal(0, 1, 40), rng.normal(0, 1, 40)
        noise = [rng.normal(0, 0.5, (2, 40)) for _ in range(2)]
        first, second = ((x + 1 + n[0], y + n[1]) for n in noise)
        held.append(stats.auc_difference(first, second))
    assert np.mean([d.ci_low <= 0 <= d.ci_high for d in held]) == pytest.approx(0.95, abs=3 * 0.01)
    alone = [stats.auc_difference(first, (np.zeros(40), np.zeros(40))).se for first in [first, second]]
    assert held[-1].se < np.hypot(*alone)


def test_tpr_at_a_low_fpr_by_hand():
    others = np.arange(200.0)  # at most 2 of 200 exceed 197
    found = stats.tpr_at_fpr([197.0, 198.0, 300.0, 0.0], others)
    assert (found.threshold, found.fpr, found.tpr) == (197, 0.01, 0.5)
    assert found.ci_low < 0.5 < found.ci_high
    tied = stats.tpr_at_fpr([1.0, 1.0], [1.0] * 100)
    assert (tied.fpr, tied.tpr) == (0, 0)


def test_a_low_fpr_of_few_others_is_refused():
    with pytest.raises(DataError, match="99 others: .* at least 100"):
        stats.tpr_at_fpr([1.0], np.arange(99.0), fpr=0.1)
    with pytest.raises(DataError, match="at least 1000"):
        stats.tpr_at_fpr([1.0], np.arange(999.0), fpr=0.001)


def test_other_examples_are_refused():
    with pytest.raises(DataError, match="30 and 29 members"):
        stats.auc_difference((MEMBERS, OTHERS), (MEMBERS[1:], OTHERS))
