"""The relative test, by hand and by its error rate."""

import numpy as np
import pytest

from unlearnkit import stats
from unlearnkit.errors import DataError


def test_shares_by_hand():
    found = stats.relative(
        unlearned=[[3.0, 1.0, 2.0], [0.0, 0.0, 1.0]],
        oracle=[[4.0, 4.0, 4.0], [4.0, 4.0, np.nan]],
        original=[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    )
    assert found.shares == (
        1 / 3,
        0,
    )  # 3 is nearer to 4; 1 to 0; 2 is a tie; a fact without an oracle is none
    assert (found.n, found.nearer, found.p) == (2, 0, 0.5)


@pytest.mark.parametrize(("n", "nearer", "significant"), [(8, 8, True), (8, 7, False), (10, 9, True)])
def test_seeds_that_a_sign_test_needs(n, nearer, significant):
    """8 of 8, 9 of 10, 15 of 20; with 3 or 5 no outcome is significant."""
    ours = np.where(np.arange(n)[:, None] < nearer, 4.0, 0.0)
    found = stats.relative(ours, np.full((n, 1), 4.0), np.zeros((n, 1)))
    assert (found.nearer, found.p < 0.05) == (nearer, significant)
    assert found.ci_low < nearer / n <= found.ci_high


def test_a_coin_is_found_out_as_seldom_as_promised():
    rng, draws = np.random.default_rng(0), 400
    before, oracle = np.zeros((20, 5)), np.ones((20, 5))
    p = [stats.relative(rng.uniform(0, 1, (20, 5)), oracle, before).p for _ in range(draws)]
    assert np.mean(np.array(p) < 0.05) <= 0.05 + 3 * 0.011


def test_bad_tables_are_named():
    with pytest.raises(DataError, match=r"oracle \(1, 3\)"):
        stats.relative(np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 2)))
    with pytest.raises(DataError, match="seed 1 has no fact"):
        stats.relative([[1.0], [np.nan]], np.ones((2, 1)), np.ones((2, 1)))
