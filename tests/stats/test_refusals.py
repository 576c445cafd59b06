"""Degenerate samples and impossible parameters."""

import math

import pytest
from worlds import AFTER, BEFORE

from unlearnkit import stats
from unlearnkit.errors import ConfigError, DataError


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
