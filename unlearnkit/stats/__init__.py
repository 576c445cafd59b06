"""Tests, effect sizes and intervals, thin over scipy and statsmodels. A degenerate sample is an error."""

from unlearnkit.stats.distributions import KS, ks
from unlearnkit.stats.equivalence import Equivalence, tost
from unlearnkit.stats.mixed import MixedModel, mixed_model
from unlearnkit.stats.multiplicity import holm
from unlearnkit.stats.paired import (
    Interval,
    PairedT,
    Wilcoxon,
    mde,
    mean_ci,
    paired_t,
    wilcoxon,
)
from unlearnkit.stats.proportions import share_ci

__all__ = [
    "KS",
    "Equivalence",
    "Interval",
    "MixedModel",
    "PairedT",
    "Wilcoxon",
    "holm",
    "ks",
    "mde",
    "mean_ci",
    "mixed_model",
    "paired_t",
    "share_ci",
    "tost",
    "wilcoxon",
]
