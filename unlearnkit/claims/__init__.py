"""The paper's claims as tests, with margins and decision rule: written before the runs that they judge.

registered   claims, contrasts, readings, margins
variants     claims of the study's variants
rule         from one number a training seed to a verdict
"""

from unlearnkit.claims.registered import CLAIMS, KINDS, NATS, PRIMARY, READINGS, SD, Claim, digest
from unlearnkit.claims.rule import (
    ALPHA,
    FAR,
    LEARNT,
    MISSED,
    NO_VERDICT,
    NOT_REPLICATED,
    REPLICATED,
    UNDECIDED,
    unfit,
    verdicts,
    with_margin,
)

__all__ = [
    "ALPHA",
    "CLAIMS",
    "FAR",
    "KINDS",
    "LEARNT",
    "MISSED",
    "NATS",
    "NOT_REPLICATED",
    "NO_VERDICT",
    "PRIMARY",
    "READINGS",
    "REPLICATED",
    "SD",
    "UNDECIDED",
    "Claim",
    "digest",
    "unfit",
    "verdicts",
    "with_margin",
]
