"""Audits: lower bounds of epsilon from guesses, of one run or of two populations of runs.

What a bound near 0 means depends on how high it could have been: every bound comes with that ceiling.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom, binomtest

from unlearnkit.errors import ConfigError, DataError
from unlearnkit.stats.proportions import exact_upper
from unlearnkit.stats.samples import require_share


def one_run_p(
    correct: int, guesses: int, eps: float = 0.0, delta: float = 0.0, coins: int | None = None
) -> float:
    """p of so many right guesses about who was included, were training (eps, delta)-DP.

    Steinke, Nasr and Jagielski (2023, arXiv:2305.08846): each of `coins` examples was included by a coin of
    its own; the auditor guessed about `guesses` of them, a number fixed beforehand, and abstained on the
    rest. At eps = delta = 0 it is the exact binomial test of guessing.
    """
    coins = _require(correct, guesses, delta, coins)
    q = expit(eps)
    p = binom.sf(correct - 1, guesses, q)
    if delta and correct:
        i = np.arange(1, correct + 1)
        between = binom.cdf(correct - 1, guesses, q) - binom.cdf(correct - i - 1, guesses, q)
        p += 2 * coins * delta * (between / i).max()
    return float(min(1.0, p))


def one_run_eps(
    correct: int, guesses: int, delta: float = 0.0, coins: int | None = None, alpha: float = 0.05
) -> float:
    """The largest eps that these guesses reject at level alpha: a lower bound of training's, or 0."""
    require_share(alpha, "alpha")

    def p(eps: float) -> float:
        return one_run_p(correct, guesses, eps, delta, coins) - alpha

    if p(0.0) >= 0:
        return 0.0
    high = 1.0
    while p(high) < 0:
        high += 1
    return float(brentq(p, high - 1 if high > 1 else 0.0, high))


@dataclass(frozen=True)
class UnlearningAudit:
    """What guesses say of unlearning: p if it were exact, and a lower bound of eps beside its ceiling."""

    correct: int
    guesses: int
    p: float
    ci_low: float
    ci_high: float
    eps: float
    ceiling: float


def unlearning_audit(correct: int, guesses: int, alpha: float = 0.05) -> UnlearningAudit:
    """Audit of a model that was trained on persons drawn by coins and then made to forget all of them.

    After exact unlearning the model does not depend on the coins, and guesses are right by chance: p is the
    exact binomial tail. If unlearning is eps-indistinguishable from training without them, whoever they are,
    then two draws are 2 eps apart, so that eps is at least half of the one-run bound (delta = 0). The
    interval is Clopper and Pearson's of the share of right guesses. Guesses may be added up over independent
    seeds.
    """
    eps = one_run_eps(correct, guesses, alpha=alpha) / 2
    ceiling = one_run_eps(guesses, guesses, alpha=alpha) / 2
    interval = binomtest(correct, guesses).proportion_ci(1 - alpha, method="exact")
    p = one_run_p(correct, guesses)
    return UnlearningAudit(correct, guesses, p, float(interval.low), float(interval.high), eps, ceiling)


def eps_from_rates(
    true_positives: int,
    positives: int,
    false_positives: int,
    negatives: int,
    delta: float = 0.0,
    alpha: float = 0.05,
    thresholds: int = 1,
) -> float:
    """Lower bound of eps between two populations of independent runs, from one threshold on a statistic.

    max{0, ln((1 - delta - FPR_U) / FNR_U), ln((1 - delta - FNR_U) / FPR_U)}, with Clopper and Pearson's upper
    bounds, each at alpha / 2 (as in Jagielski et al. 2020, arXiv:2006.07709). The threshold was chosen on
    other runs; where it is the best of several on these, give their number: Bonferroni.
    """
    require_share(alpha, "alpha")
    if thresholds < 1:
        raise ConfigError(f"thresholds={thresholds}: at least one was used")
    rates = ((true_positives, positives), (false_positives, negatives))
    if not all(0 <= hits <= runs and runs for hits, runs in rates):
        raise DataError(
            f"{true_positives} of {positives} and {false_positives} of {negatives} are no rates: hits lie "
            "between 0 and the number of runs, which is from 1"
        )
    level = 1 - alpha / 2 / thresholds
    fnr = exact_upper(positives - true_positives, positives, level)
    fpr = exact_upper(false_positives, negatives, level)
    tops = [(1 - delta - fpr, fnr), (1 - delta - fnr, fpr)]
    return max([0.0, *(math.log(top / bottom) for top, bottom in tops if top > 0)])


def eps_ceiling(runs: int, delta: float = 0.0, alpha: float = 0.05, thresholds: int = 1) -> float:
    """The bound that `eps_from_rates` gives for so many runs of each kind, told apart without an error."""
    return eps_from_rates(runs, runs, 0, runs, delta, alpha, thresholds)


def _require(correct: int, guesses: int, delta: float, coins: int | None) -> int:
    """The number of coins; ConfigError or DataError for what is none."""
    coins = guesses if coins is None else coins
    if not 0 <= delta < 1:
        raise ConfigError(f"delta={delta} must lie in [0, 1)")
    if not 0 <= correct <= guesses <= coins or not guesses:
        raise DataError(
            f"{correct} right of {guesses} guesses about {coins} coins: give 0 <= correct <= guesses <= coins"
        )
    return coins
