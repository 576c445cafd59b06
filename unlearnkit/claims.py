"""The paper's claims as tests, with margins and decision rule: written before the runs that they judge.

Every claim comes down to one number a training seed, its primary contrast, signed so that the paper's claim
is a positive number (or, for "no impact", a number near zero). Margins are the smallest effects that would
matter to somebody who has to forget a person, in the contrast's own unit. They are fixed here, in nats a
token, and not taken from the data.

The rule, on the seeds' mean and its 95 % interval, with p corrected by Holm over the arm's claims:

difference     replicated      p_holm < 0.05, and the estimate is at least the margin
               not replicated  the whole interval lies below the margin: what there is, is too small to
                               matter, or points the other way
no impact      replicated      the whole interval lies within +- the margin
               not replicated  p_holm < 0.05, and the estimate lies outside of the margins
both           undecided       otherwise; the smallest effect that this many seeds could have found is given

No verdict is given on an arm where there was nothing to unlearn, or whose ledger does not hold (`unfit`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import ttest_1samp

from unlearnkit import stats
from unlearnkit.errors import ConfigError

ALPHA = 0.05
LEARNT = 0.5  # least share of the forget facts' answer tokens that the fine-tuned model must know
FAR = 0.5  # nats: least distance (D_F) between that model and the oracle
MISSED = 1e-4  # most of the way travelled by which the ledger's rewind may miss the start, beyond rounding
REPLICATED, NOT_REPLICATED, UNDECIDED = "replicated", "not replicated", "undecided"
NO_VERDICT = "no verdict"
KINDS = ("difference", "no impact")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, the contrast that stands for it, and what would matter of it."""

    id: str
    statement: str
    paper_says: str
    contrast: str
    margin: float
    kind: str = "difference"


# D_F is the mean over forget facts of |NLL - the oracle's NLL|, read where retain facts have first lost
# study.config.DAMAGE_NATS. 0.1 nat is a change of a tenth in an answer token's probability.
CLAIMS = (
    Claim(
        "C1",
        "First-epoch gradients unlearn better than those of all epochs.",
        "first-epoch gradient ascent is more effective than using many epochs",
        "D_F of all epochs minus D_F of the first epoch, at equal retain damage",
        0.1,
    ),
    Claim(
        "C1a",
        "First-epoch gradients forget the person, not just anything.",
        "(not tested there: the paper has no controls)",
        "D_F of the wrong person's gradients minus D_F of the first epoch, at equal retain damage",
        0.1,
    ),
    Claim(
        "C2a",
        "The embedding layer is the one to edit.",
        "the embedding layer is crucial",
        "D_F of all layers minus D_F of the embedding alone, at equal retain damage",
        0.1,
    ),
    Claim(
        "C2b",
        "The last blocks have no impact.",
        "output layers (11 and 12) have no impact",
        "forget NLL after minus before first-epoch ascent on the last two blocks, at all layers' step length",
        0.1,
        "no impact",
    ),
    Claim(
        "C3a",
        "Influence, as the product of activations and their gradients, falls after unlearning.",
        "scores fall after unlearning, with large effect sizes",
        "mean score of the forget facts before minus after, in shares of the score before",
        0.1,
    ),
    Claim(
        "C3b",
        "Influence, as the product of stored and present gradients, falls after unlearning.",
        "scores fall after unlearning, with large effect sizes",
        "mean score of the forget facts before minus after, in shares of the score before",
        0.1,
    ),
    Claim(
        "C4",
        "A badly calibrated ascent exposes what should be forgotten.",
        "gradient ascent needs calibration, or it re-exposes",
        "forget NLL before minus its lowest value along the first-epoch path",
        0.01,
    ),
    Claim(
        "C5",
        "Iterative removal is more complete than a fuzzy request.",
        "fuzzy matching shifts the model to a new optimum; iterative removal is more complete",
        "D_F after the fuzzy request minus D_F after the iterative one, at equal retain damage",
        0.1,
    ),
)


def with_margin(margin: float) -> tuple[Claim, ...]:
    """The claims with another smallest effect that matters, for who disagrees with the registered."""
    return tuple(replace(claim, margin=margin) for claim in CLAIMS)


def unfit(memorised: float, distance: float, missed: float = 0.0) -> str:
    """Why an arm can bear no verdict, and what to change; "" where it can.

    `memorised` and `distance` are of the fine-tuned model: the share of the forget facts' answer tokens that
    it predicts, and D_F in nats; `missed` is the rewind's error beyond that of rounding, as a share of the
    way travelled.
    """
    if not memorised >= LEARNT:
        return (
            f"only {memorised:.0%} of the forget facts' answers were learnt (at least {LEARNT:.0%} are "
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
    contrasts: Mapping[str, Sequence[float]], arm: str, claims: Sequence[Claim] = CLAIMS, why_not: str = ""
) -> list[dict]:
    """A row a claim that `contrasts` (claim id -> one number a training seed) has values for.

    With `why_not`, a reason of `unfit`, every verdict is NO_VERDICT.

    Keys: id, statement, arm, contrast, margin, estimate, ci_low, ci_high, p, p_holm, n_seeds, detectable,
    verdict, paper_says. Holm's family is the arm's claims that can be tested; one seed is never a verdict.
    ConfigError for an unknown claim.
    """
    known = {c.id: c for c in claims}
    if unknown := [i for i in contrasts if i not in known]:
        raise ConfigError(f"unknown claims: {', '.join(map(repr, unknown))}; choose from {', '.join(known)}")
    rows = [
        _test(claim, np.asarray(contrasts[i], float), arm) for i, claim in known.items() if i in contrasts
    ]
    tested = [r for r in rows if r["p"] is not None]
    for row, corrected in zip(tested, stats.holm([r["p"] for r in tested]) if tested else (), strict=True):
        row["p_holm"] = float(corrected)
    for row in rows:
        row["verdict"] = NO_VERDICT if why_not else _decide(known[row["id"]], row)
    return rows


def _test(claim: Claim, values: np.ndarray, arm: str) -> dict:
    """Estimate, interval and p of one contrast; nothing but the estimate from a single seed."""
    row = {"id": claim.id, "statement": claim.statement, "arm": arm, "contrast": claim.contrast}
    row |= {"margin": claim.margin, "estimate": float(values.mean()), "ci_low": None, "ci_high": None}
    row |= {"p": None, "p_holm": None, "n_seeds": len(values), "detectable": None}
    row["paper_says"] = claim.paper_says
    if len(values) > 1:
        interval = stats.mean_ci(values)
        row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
        if interval.sd > 0:
            row["p"] = float(ttest_1samp(values, 0.0).pvalue)
            row["detectable"] = stats.mde(len(values), interval.sd)
    return row


def _decide(claim: Claim, row: dict) -> str:
    """The module's rule."""
    low, high, estimate = row["ci_low"], row["ci_high"], row["estimate"]
    if low is None:
        return UNDECIDED
    significant = row["p_holm"] is not None and row["p_holm"] < ALPHA
    if claim.kind == "no impact":
        if -claim.margin < low and high < claim.margin:
            return REPLICATED
        return NOT_REPLICATED if significant and abs(estimate) > claim.margin else UNDECIDED
    if significant and estimate >= claim.margin:
        return REPLICATED
    return NOT_REPLICATED if high < claim.margin else UNDECIDED
