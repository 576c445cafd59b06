"""What the chapters of the variants share: their arms, how a path's cost is told, and verdicts in words."""

from collections.abc import Mapping, Sequence

import pandas as pd

from unlearnkit import claims
from unlearnkit.errors import DataError
from unlearnkit.report import contrasts, tables
from unlearnkit.report.claim_values import priced
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm, Run

WORDS = {claims.REPLICATED: "yes", claims.NOT_REPLICATED: "no"}


def arm_of(run: Run, variant: str) -> Arm:
    """The arm of a variant; DataError where the run has none, as `quick` and `default` have not."""
    if variant not in run.variants:
        raise DataError(
            f"this run has no variant {variant!r}: give its profile seeds_requests, seeds_stages or "
            "seeds_planted, or read run = 'published'"
        )
    return run.variants[variant]


def judged(arm: Arm, values: Mapping[str, Sequence[float]], registered: Sequence[claims.Claim]) -> list[dict]:
    """A verdict on each registered claim that has values, by the paper's rule; Holm over them all."""
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


def costs(arm: Arm, keys: Sequence[str] = ("method",)) -> pd.DataFrame:
    """What each path pays to forget as the oracle, means over seeds: a row for each value of `keys`.

    Columns: keys, pays (nats that the retain facts lose, as `claim_values.cost` has it), reached, seeds, and
    D_F where the retain facts have lost 0.05 nats, where they have lost 0.5, and at its smallest.
    """
    there = reading(arm, "forgetting")
    there = there.assign(pays=priced(arm, there)).groupby(list(keys), sort=False)
    found = there.agg(pays=("pays", "mean"), reached=("reached", "sum"), seeds=("seed", "count"))
    read = {
        "at_little": reading(arm, "damage", 0.05),
        "at_much": reading(arm, "damage", 0.5),
        "closest": reading(arm, "closest"),
    }
    for name, table in read.items():
        found[name] = table.groupby(list(keys))["oracle_distance"].mean()
    return found.reset_index()
