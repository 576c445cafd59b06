"""What the chapters of the variants share: their arms, how a path's cost is told, and verdicts in words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from IPython.display import Markdown

from unlearnkit import claims
from unlearnkit.report import contrasts, tables
from unlearnkit.report.claim_values import priced
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm

WORDS = {claims.REPLICATED: "yes", claims.NOT_REPLICATED: "no"}


def unless_there(found: object, parameter: str) -> Markdown | None:
    """Nothing where a run has a variant; else the sentence that it did not look, and how one does.

    `parameter` is the profile's that says how many seeds the variant has.
    """
    if found:
        return None
    return Markdown(
        "*This run did not look at that: runs of the profile `full` do, and others of the study's own facts "
        f'with `P="{parameter}=8"`.*'
    )


def judged(arm: Arm, values: Mapping[str, Sequence[float]], registered: Sequence[claims.Claim]) -> list[dict]:
    """A verdict on each registered claim that has values, by the paper's rule; Holm over them all.

    By the margin of the run where a reader gave it one.
    """
    if arm.run.margin:
        registered = [replace(claim, margin=arm.run.margin) for claim in registered]
    return claims.verdicts(values, arm.name, registered, contrasts.unfit(arm))


def answers(rows: list[dict]) -> pd.DataFrame:
    """Verdicts for people: the claim, its contrast's mean and 95 % interval, p after Holm, and whether so."""
    told = [
        (
            f"{row['id']}: {row['statement']}",
            tables.estimate(row["estimate"], row["ci_low"], row["ci_high"]),
            tables.p_value(row["p_holm"]),
            row["n_seeds"],
            WORDS.get(row["verdict"], row["verdict"]),
        )
        for row in rows
    ]
    return tables.frame(told, "claim", "difference, nats [95 %]", "p (Holm)", "seeds", "so?")


def paid(arm: Arm) -> pd.DataFrame:
    """Every path where it has forgotten as the oracle, with what that `pays` (`claim_values.cost`, nats)."""
    there = reading(arm, "forgetting")
    return there.assign(pays=priced(arm, there))


def costs(arm: Arm) -> pd.DataFrame:
    """What each method's paths pay to forget as the oracle, means over seeds: a row a method.

    Columns: method, pays (nats that the retain facts lose, `claim_values.cost`), reached, seeds, and D_F
    where the retain facts have lost 0.05 nats (`at_little`), 0.5 (`at_much`), and at its least (`closest`).
    """
    told = {"pays": ("pays", "mean"), "reached": ("reached", "sum"), "seeds": ("seed", "count")}
    found = paid(arm).groupby("method", sort=False).agg(**told)
    read = {
        "at_little": reading(arm, "damage", 0.05),
        "at_much": reading(arm, "damage", 0.5),
        "closest": reading(arm, "closest"),
    }
    for name, table in read.items():
        found[name] = table.groupby("method")["oracle_distance"].mean()
    return found.reset_index()
