"""Tests, effect sizes and intervals, thin over scipy and statsmodels. A degenerate sample is an error."""

from unlearnkit.stats.auc import AUC, TPR, AUCDifference, auc, auc_difference, tpr_at_fpr
from unlearnkit.stats.audit import (
    UnlearningAudit,
    eps_ceiling,
    eps_from_rates,
    one_run_eps,
    one_run_p,
    unlearning_audit,
)
from unlearnkit.stats.distributions import KS, ks
from unlearnkit.stats.equivalence import Equivalence, tost
from unlearnkit.stats.klom import FEWEST as KLOM_FEWEST
from unlearnkit.stats.klom import KLoM, gaussian_kl, klom, log_odds
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
from unlearnkit.stats.power import below_power, sign_power, tost_power
from unlearnkit.stats.proportions import exact_upper, share_ci
from unlearnkit.stats.recovery import recovered_share
from unlearnkit.stats.relative import Relative, relative

__all__ = [
    "AUC",
    "KS",
    "TPR",
    "AUCDifference",
    "Equivalence",
    "Interval",
    "KLOM_FEWEST",
    "KLoM",
    "MixedModel",
    "PairedT",
    "Relative",
    "UnlearningAudit",
    "Wilcoxon",
    "auc",
    "auc_difference",
    "below_power",
    "eps_ceiling",
    "eps_from_rates",
    "exact_upper",
    "gaussian_kl",
    "holm",
    "klom",
    "ks",
    "log_odds",
    "mde",
    "mean_ci",
    "mixed_model",
    "one_run_eps",
    "one_run_p",
    "paired_t",
    "recovered_share",
    "relative",
    "share_ci",
    "sign_power",
    "tost",
    "tost_power",
    "tpr_at_fpr",
    "unlearning_audit",
    "wilcoxon",
]
