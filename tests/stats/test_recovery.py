"""What comes back of what was forgotten."""

import numpy as np

from unlearnkit import stats


def test_recovered_share():
    share = stats.recovered_share([4.0, 4.0, 4.0, 2.0], [4.0, 1.0, 4.6, 2.0], [1.0, 1.0, 1.0, 2.0])
    np.testing.assert_allclose(share, [0, 1, -0.2, np.nan])
