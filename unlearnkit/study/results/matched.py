"""Readings of a path at a step length: at matched damage, where it meets the oracle; contrasts over seeds.

Definitions: field.md.
"""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.experiments.readings import at, crossing
from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.oracles import oracle_distance, oracle_nll
from unlearnkit.study.results.paths import CORE, KEYS, along, fact_paths, path_table, points

READ = ("forget_nll", "oracle_distance", "oracle_gap", "perplexity_ratio", "rougeL_recall", "share")


def damage_crossing(path: pd.DataFrame, damage: float = grid.DAMAGE_NATS) -> tuple[float, bool]:
    """(step length, whether it crosses) where one seed's path first costs the retain facts `damage` nats."""
    return crossing(path.set_index("norm")["damage"].sort_index(), damage)


def matched_damage(
    profile: Profile,
    arm: str,
    damage: float = grid.DAMAGE_NATS,
    layers: str | None = "all",
    methods: tuple[str, ...] | None = CORE,
) -> pd.DataFrame:
    """Per seed, layers and method, the reading at matched retain damage.

    Columns: seed, layers, method, norm, crossed (False where the path never costs so much, and is read at its
    longest step), and those of READ.
    """
    table = _readings(profile.name, arm, damage)
    if layers is not None:
        table = table[table["layers"] == layers]
    if methods is not None:
        table = table[table["method"].isin(methods)]
    return table.reset_index(drop=True)


@cache
def _readings(name: str, arm: str, damage: float) -> pd.DataFrame:
    table = points(name, arm)
    begins = {seed: rows for seed, rows in table[table["method"] == "finetuned"].groupby("seed")}
    found = []
    for (seed, layers, method), rows in table[table["method"] != "finetuned"].groupby(KEYS[:3], sort=False):
        mine = pd.concat([begins[seed], rows])
        norm, crossed = damage_crossing(mine, damage)
        row = {"seed": seed, "layers": layers, "method": method, "norm": norm, "crossed": crossed}
        found.append(row | read(mine, norm))
    return pd.DataFrame(found, columns=["seed", "layers", "method", "norm", "crossed", *READ])


def read(path: pd.DataFrame, norm: float) -> dict[str, float]:
    """One seed's path at a step length: the columns of READ, interpolated; NaN where not measured.

    Perplexity is so in its logarithm, the NLL that it stands for.
    """
    path = path.set_index("norm").sort_index()
    path = path.assign(perplexity_ratio=np.log(path["perplexity_ratio"]))
    found = {c: at(path[c].dropna(), norm) if path[c].notna().sum() > 1 else np.nan for c in READ}
    return found | {"perplexity_ratio": float(np.exp(found["perplexity_ratio"]))}


def distance_at(profile: Profile, arm: str, where: tuple, norm: float) -> float:
    """D_F of the path `where` (seed, layers, method) at a step length, each fact interpolated by itself.

    Near the oracle D_F itself cannot be interpolated: from facts short of it on one side to facts past it on
    the other, its mean absolute distance stays large where each fact's distance goes through zero.
    """
    path = fact_paths(profile.name, arm)[where]
    nll = pd.Series({fact: at(path[fact].dropna(), norm) for fact in path})
    return oracle_distance(nll, oracle_nll(profile, arm))


def turning_points(
    profile: Profile, arm: str, method: str = "first_epoch", layers: str = "all"
) -> pd.DataFrame:
    """Per seed, three marks of one path: re-exposure, meeting the oracle, and the end.

    dip        lowest forget NLL minus the start's over the measured steps: below 0 is re-exposure
    meets      step length (share) where the forget NLL first reaches the oracles', interpolated; NaN if never
    damage_there, distance_there   retain damage and D_F at that step
    end_gap    forget NLL minus the oracles' at the longest step: above 0 is over-unlearning
    """
    table, found = path_table(profile, arm, layers, (method,)), []
    for seed, here in table.groupby("seed"):
        path = along(here, method, layers)
        if len(path) < 2:
            continue  # this seed does not walk it
        path = path.set_index("share")
        gap = path["oracle_gap"]
        row = {"seed": seed, "dip": min(gap.iloc[1:] - gap.iloc[0]), "end_gap": gap.iloc[-1], "meets": np.nan}
        meets, crossed = crossing(gap, 0.0)
        if gap.iloc[0] < 0 and crossed:
            row |= {"meets": meets, "damage_there": at(path["damage"], meets)}
            norm = at(path["norm"], meets)
            row |= {"distance_there": distance_at(profile, arm, (seed, layers, method), norm)}
        found.append(row)
    return pd.DataFrame(found).reindex(
        columns=["seed", "dip", "meets", "damage_there", "distance_there", "end_gap"]
    )


def contrasts(profile: Profile, arm: str, value: str = "oracle_distance") -> pd.DataFrame:
    """At matched damage, first epoch minus each other update, paired over training seeds, Holm-corrected.

    Columns: against, n, difference, ci_low, ci_high, p, p_holm, wins (seeds where the first epoch is
    lower). One seed has a difference and nothing else.
    """
    wide = matched_damage(profile, arm).pivot_table(index="seed", columns="method", values=value)
    others = {other: wide[other] for other in wide if other != "first_epoch" and "first_epoch" in wide}
    return paired(wide["first_epoch"], others) if others else pd.DataFrame(columns=["against"])


def paired(reference: pd.Series, others: dict[str, pd.Series]) -> pd.DataFrame:
    """`reference` minus each of `others`, paired by seed; columns as for `contrasts`."""
    found = []
    for name, other in others.items():
        difference = (reference - other).dropna()
        row = {"against": name, "n": len(difference), "difference": difference.mean()}
        row["wins"] = int((difference < 0).sum())
        try:
            test = stats.paired_t(other[difference.index], reference[difference.index])
            row |= {"ci_low": test.ci_low, "ci_high": test.ci_high, "p": test.p}
        except DataError:
            pass  # one seed, or no variance: a difference without an interval
        found.append(row)
    return with_holm(pd.DataFrame(found))


def with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as one family of tests: p_holm, anew where there is one, over all that have a p."""
    if "p" in table and table["p"].notna().any():
        tested = table["p"].notna()
        table.loc[tested, "p_holm"] = stats.holm(table.loc[tested, "p"])
    return table
