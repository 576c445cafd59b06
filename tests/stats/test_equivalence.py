"""Two one-sided tests."""

import numpy as np
import pingouin
import pytest
from worlds import AFTER, BEFORE

from unlearnkit import stats


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
