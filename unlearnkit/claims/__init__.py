"""The paper's claims, and what forgetting is, as tests with margins and rules, written before their runs.

registered    claims, contrasts, readings, margins
variants      claims of the study's variants; methods: rules of the comparison of methods
rule          from one number a training seed to a verdict
verification  has a method forgotten: the rows of Protocol 2026; judging: how each is judged
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
