"""The decision rule, on one number a training seed; fixed before the runs that it judges.

The interval is the 95 % t interval of the seeds' mean; a seed has a world of its own, so that it covers
persons and orders of training alike. p tests what the verdict needs, and is corrected by Holm over all of an
arm's claims:

difference     p           of a mean of 0 (t test, two-sided)
               replicated      p_holm < 0.05, and the estimate is at least the margin
               not replicated  the whole interval lies below the margin: what there is, is too small to
                               matter, or points the other way
no impact      p           of a mean beyond either margin (two one-sided t tests, Schuirmann 1987)
               replicated      p_holm < 0.05: the effect is too small to matter
               not replicated  the whole interval lies beyond a margin
both           undecided       otherwise; the smallest effect that this many seeds could have found is given

No verdict is given on an arm where there was nothing to unlearn, or whose ledger does not hold (`unfit`),
nor, with no estimate either, on a claim none of whose paths has forgotten, in most seeds, by where it ends:
what stands for such a seed is the whole price, and no measurement. Nor does a verdict stand that hangs on
that price in some seeds: it must be the same with the most that such a path had cost by its end (`bounds`),
or is undecided. Both were added on 30 November 2026, after all runs had been seen: the first takes verdicts
on plain SGD away, which had been "not replicated", the second C1a's on the real model, "replicated" before.

Imports scipy only where something is tested: a plan asks what is registered, and tests nothing.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from unlearnkit.claims.registered import CLAIMS, NATS, Claim
from unlearnkit.errors import ConfigError

ALPHA = 0.05
LEARNT = 0.5  # least share of the forget facts' answer tokens that the fine-tuned model must know
FAR = 0.5  # nats: least distance (D_F) between that model and the oracle
MISSED = 1e-4  # most of the way travelled by which the ledger's rewind may miss the start, beyond rounding
REPLICATED, NOT_REPLICATED, UNDECIDED = "replicated", "not replicated", "undecided"
NO_VERDICT = "no verdict"
TESTED = ("ci_low", "ci_high", "p", "p_holm", "detectable")  # what only more than one seed has


def with_margin(margin: float) -> tuple[Claim, ...]:
    """The claims in nats with another smallest effect that matters, for who disagrees with the registered."""
    return tuple(replace(claim, margin=margin) if claim.unit == NATS else claim for claim in CLAIMS)


def unfit(memorised: float, distance: float, missed: float = 0.0) -> str:
    """Why an arm can bear no verdict, and what to change; "" where it can.

    `memorised` and `distance` are of the fine-tuned model: the share of the forget facts' answer tokens that
    it predicts, and D_F in nats; `missed` is the rewind's error beyond that of rounding, as a share of the
    way travelled.
    """
    if not memorised >= LEARNT:
        return (
            f"only {memorised:.1%} of the forget facts' answers were learnt (at least {LEARNT:.0%} are "
            "needed): train longer or with a larger learning rate; `make recipe` looks for one"
        )
    if not distance >= FAR:
        return (
            f"the model is {distance:.2f} nats from the oracle before any unlearning (at least {FAR:g} are "
            "needed): it knew the answers without these facts, or others give them away; forget others"
        )
    if missed > MISSED:
        return (
            f"the ledger's rewind misses the start by {missed:.2%} of the way (at most {MISSED:.2%}): this "
            "model's gradients are not kept well enough"
        )
    return ""


def verdicts(
    contrasts: Mapping[str, Sequence[float]],
    arm: str,
    claims: Sequence[Claim] = CLAIMS,
    why_not: str = "",
    too_short: Collection[str] = (),
    bounds: Sequence[Mapping[str, Sequence[float]]] = (),
) -> list[dict]:
    """A row a claim that `contrasts` (claim id -> one number a training seed) has values for.

    With `why_not`, a reason of `unfit`, every verdict is NO_VERDICT; so are those on the claims `too_short`,
    whose paths were not walked far enough, and these have no numbers (NaN and None). `bounds` are the
    contrasts as they may be instead: where the verdict would be another, it is UNDECIDED, and the row's
    `bound` is what was found there (estimate, ci_low, ci_high), else None.

    Keys: id, statement, arm, contrast, margin, estimate, ci_low, ci_high, p, p_holm, n_seeds, detectable,
    verdict, paper_says, bound. Holm's family is the arm's claims that are tested; one seed is no verdict.
    ConfigError for an unknown claim.
    """
    rows = _judged(contrasts, arm, claims, why_not, too_short)
    for other in bounds:
        for row, there in zip(rows, _judged(other, arm, claims, why_not, too_short), strict=True):
            differs = there["estimate"] != row["estimate"] and there["verdict"] != row["verdict"]
            if row["bound"] is None and differs:
                row |= {"verdict": UNDECIDED, "bound": tuple(there[k] for k in ("estimate", *TESTED[:2]))}
    return rows


def _judged(
    contrasts: Mapping[str, Sequence[float]],
    arm: str,
    claims: Sequence[Claim],
    why_not: str,
    too_short: Collection[str],
) -> list[dict]:
    """`verdicts` without bounds."""
    from unlearnkit import stats

    known = {c.id: c for c in claims}
    if unknown := [i for i in contrasts if i not in known]:
        raise ConfigError(f"unknown claims: {', '.join(map(repr, unknown))}; choose from {', '.join(known)}")
    rows = [
        _test(claim, np.asarray(contrasts[i], float), arm) for i, claim in known.items() if i in contrasts
    ]
    for row in rows:
        if row["id"] in too_short:
            row |= dict.fromkeys(TESTED) | {"estimate": math.nan}
    tested = [r for r in rows if r["p"] is not None]
    for row, corrected in zip(tested, stats.holm([r["p"] for r in tested]) if tested else (), strict=True):
        row["p_holm"] = float(corrected)
    for row in rows:
        mute = why_not or row["id"] in too_short
        row["verdict"] = NO_VERDICT if mute else _decide(known[row["id"]], row)
    return rows


def _test(claim: Claim, values: np.ndarray, arm: str) -> dict:
    """Estimate, interval and p of one contrast; nothing but the estimate from a single seed."""
    from unlearnkit import stats

    row = {"id": claim.id, "statement": claim.statement, "arm": arm, "contrast": claim.contrast}
    row |= {"margin": claim.margin, "estimate": float(values.mean())}
    row |= dict.fromkeys((*TESTED, "bound")) | {"n_seeds": len(values)}
    row["paper_says"] = claim.paper_says
    if len(values) > 1:
        interval = stats.mean_ci(values)
        row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
        if interval.sd > 0:
            row["p"] = _p(claim, values)
            row["detectable"] = stats.mde(len(values), interval.sd)
    return row


def _p(claim: Claim, values: np.ndarray) -> float:
    """Of the null hypothesis whose rejection the claim asks for."""
    from scipy.stats import ttest_1samp

    from unlearnkit import stats

    if claim.kind == "no impact":
        return stats.tost(values, claim.margin).p
    return float(ttest_1samp(values, 0.0).pvalue)


def _decide(claim: Claim, row: dict) -> str:
    """The module's rule."""
    low, high, estimate = row["ci_low"], row["ci_high"], row["estimate"]
    if low is None:
        return UNDECIDED
    significant = row["p_holm"] is not None and row["p_holm"] < ALPHA
    if claim.kind == "no impact":
        same = row["p"] is None and abs(estimate) < claim.margin  # equal in every seed
        if significant or same:
            return REPLICATED
        return NOT_REPLICATED if low > claim.margin or high < -claim.margin else UNDECIDED
    if significant and estimate >= claim.margin:
        return REPLICATED
    return NOT_REPLICATED if high < claim.margin else UNDECIDED
