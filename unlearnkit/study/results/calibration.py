"""Calibration of the ascent (claim C4): re-exposure, stopping rules and their price, stale and fresh steps.

All readings are linear between two measured steps of a path, the start being its first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import CLAIMS
from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.observed import observations
from unlearnkit.study.results.paths import along, matched_damage, paired, path_table

# (layers, method): the paths of this chapter, those of the claim first and the controls last.
PATHS = (
    ("all", "first_epoch"),
    ("all", "all_epochs"),
    ("all", "recomputed"),
    ("embedding", "first_epoch"),
    ("all", "wrong_person"),
    ("all", "random_direction"),
)
REFERENCE = PATHS[0]
MARGIN = next(c.margin for c in CLAIMS if c.id == "C4")  # nats; a shallower dip would not matter
VALUES = [
    "norm",
    "share",
    "forget_nll",
    "rise",
    "oracle_gap",
    "oracle_distance",
    "damage",
    "bystander_damage",
]
VALUES += ["perplexity_ratio", "exact_memorisation", "rougeL_recall"]


@dataclass(frozen=True)
class Rule:
    """Stop where `column` first reaches `level`: a number, or a column of `levels`."""

    label: str
    column: str
    level: str | float
    falling: bool = False
    needs: str = ""  # what somebody would have to have to follow it


RULES = {
    "memorisation": Rule(
        "memorisation as of strangers", "exact_memorisation", "memorisation", True, "never-trained facts"
    ),
    "stranger": Rule("NLL as of strangers", "forget_nll", "nll", False, "never-trained facts"),
    "budget": Rule(
        f"retain budget, {grid.DAMAGE_NATS} nats", "damage", grid.DAMAGE_NATS, False, "some retain facts"
    ),
    "oracle": Rule("NLL as in the oracle", "oracle_gap", 0.0, False, "a retrained model"),
}


def paths_of(profile: Profile, arm: str) -> pd.DataFrame:
    """The path table of every selection and method, with `rise`: forget NLL minus the start's, in nats."""
    table = path_table(profile, arm, layers=None, methods=None)
    start = table[table["method"] == "finetuned"].set_index("seed")["forget_nll"]
    return table.assign(rise=table["forget_nll"] - table["seed"].map(start))


def exposure(profile: Profile, arm: str) -> pd.DataFrame:
    """Where the forget facts become likelier than at the start: a row a seed, selection and method.

    On all layers, and on the embedding for the first epoch.
    dip             lowest `rise` over the measured steps, at most 0
    deepest         step (share) of that; NaN without a dip
    since, until    where the rise is negative, interpolated; `until` is inf if it still is at the end
    first_step, first_rise   the shortest measured step, and the rise there
    """
    table, found = paths_of(profile, arm), []
    table = table[(table["layers"] == "all") | _is(table, *PATHS[3])]
    walked = table[table["method"] != "finetuned"].groupby(["seed", "layers", "method"], sort=False)
    for (seed, layers, method), _ in walked:
        path = along(table[table["seed"] == seed], method, layers)
        share, rise = path["share"].to_numpy(), path["rise"].to_numpy()
        row = {"seed": seed, "layers": layers, "method": method, "dip": min(0.0, rise.min())}
        row |= {"deepest": share[rise.argmin()] if rise.min() < 0 else np.nan}
        found.append(row | _region(share, rise) | {"first_step": share[1], "first_rise": rise[1]})
    return pd.DataFrame(found)


def _region(share: np.ndarray, rise: np.ndarray) -> dict[str, float]:
    """The first and the last place where a path that starts at 0 is below it."""
    below = np.flatnonzero(rise < 0)
    if not below.size:
        return {"since": np.nan, "until": np.nan}

    def zero(k: int) -> float:
        """Between steps k and k + 1."""
        return share[k] - rise[k] / (rise[k + 1] - rise[k]) * (share[k + 1] - share[k])

    first, last = below[0], below[-1]
    return {"since": zero(first - 1), "until": zero(last) if last + 1 < len(rise) else np.inf}


def dips(table: pd.DataFrame) -> pd.DataFrame:
    """`exposure` over seeds: a row a selection and method, in the order of PATHS, then the rest.

    Columns: layers, method, n, mean, ci_low, ci_high (of the dip; NaN from one seed), dipped, mattered (seeds
    with any dip, and with one of at least the claim's margin).
    """
    found = []
    for (layers, method), rows in table.groupby(["layers", "method"], sort=False):
        row = {"layers": layers, "method": method, "n": len(rows), "mean": rows["dip"].mean()}
        if len(rows) > 1:
            interval = stats.mean_ci(rows["dip"])
            row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
        row |= {"dipped": int((rows["dip"] < 0).sum()), "mattered": int((rows["dip"] <= -MARGIN).sum())}
        found.append(row)
    order = {where: k for k, where in enumerate(PATHS)}
    found.sort(key=lambda r: order.get((r["layers"], r["method"]), len(order)))
    columns = ["layers", "method", "n", "mean", "ci_low", "ci_high", "dipped", "mattered"]
    return pd.DataFrame(found).reindex(columns=columns)


def levels(profile: Profile, arm: str) -> pd.DataFrame:
    """How well theta_T knows never-trained facts, a row a seed: memorisation, nll; no rows without any."""
    rows = observations(profile, "portraits", arm)
    rows = rows[(rows["method"] == "finetuned") & (rows["split"] == "holdout")]
    wide = rows.pivot_table(index="seed", columns="metric", values="value")
    wide = wide.reindex(columns=["exact_memorisation", "nll"])
    return wide.rename(columns={"exact_memorisation": "memorisation"})


def stops(profile: Profile, arm: str) -> pd.DataFrame:
    """Where each rule stops each of PATHS: a row a seed, selection, method and rule.

    Columns: seed, layers, method, rule, met (False where it never does: read at the longest step), and VALUES
    there. A rule whose level this run cannot give (no never-trained facts) has no rows.
    """
    table, strangers = paths_of(profile, arm), levels(profile, arm)
    found = []
    for (seed, layers, method), _ in table.groupby(["seed", "layers", "method"], sort=False):
        if (layers, method) not in PATHS:
            continue
        path = along(table[table["seed"] == seed], method, layers)
        for name, rule in RULES.items():
            level = rule.level
            if isinstance(level, str):
                level = strangers[level].get(seed, np.nan)
            if np.isfinite(level):
                where = {"seed": seed, "layers": layers, "method": method, "rule": name}
                values, met = stop(path, rule.column, level, rule.falling)
                found.append(where | {"met": met} | values.to_dict())
    return pd.DataFrame(found, columns=["seed", "layers", "method", "rule", "met", *VALUES])


def stop(path: pd.DataFrame, column: str, level: float, falling: bool = False) -> tuple[pd.Series, bool]:
    """(VALUES where one seed's path first reaches the level, whether it does); the last step if not."""
    path = path.sort_values("share")
    missing = (path[column] - level).to_numpy() * (1 if falling else -1)  # positive: not there yet
    path = path[VALUES]
    there = np.flatnonzero(missing <= 0)
    if not there.size:
        return path.iloc[-1], False
    k = int(there[0])
    if k == 0:
        return path.iloc[0], True
    part = missing[k - 1] / (missing[k - 1] - missing[k])
    return path.iloc[k - 1] + part * (path.iloc[k] - path.iloc[k - 1]), True


def rule_contrasts(table: pd.DataFrame, value: str = "oracle_distance") -> pd.DataFrame:
    """On the reference path of `stops`: the oracle-matched rule minus each other, paired over seeds, Holm.

    Columns as for `results.contrasts`; only seeds in which both rules are met.
    """
    mine = table[_is(table, *REFERENCE) & table["met"]]
    wide = mine.pivot_table(index="seed", columns="rule", values=value)
    if "oracle" not in wide or len(wide.columns) < 2:
        return pd.DataFrame(columns=["against", "n"])
    found = paired(wide["oracle"], {rule: wide[rule] for rule in RULES if rule in wide and rule != "oracle"})
    return found[found["n"] > 0].reset_index(drop=True)


def durations(profile: Profile, arm: str) -> pd.DataFrame:
    """Fresh against stale gradients after the same way: a row a seed and application of fresh gradients.

    duration k (1 for the first application), distance (norm as a share of fine-tuning's), and for each of
    rise, damage and oracle_distance the value of the fresh path and of the first epoch's line at that norm.
    """
    table, found = paths_of(profile, arm), []
    values = ["rise", "damage", "oracle_distance"]
    for seed, here in table.groupby("seed"):
        fresh, stale = (along(here, m).set_index("norm")[values] for m in ("recomputed", "first_epoch"))
        moved = here.loc[_is(here, *REFERENCE), "norm"].max() / here.loc[_is(here, *REFERENCE), "share"].max()
        for k, (norm, row) in enumerate(fresh.iloc[1:].iterrows(), start=1):
            told = {"seed": seed, "duration": k, "distance": norm / moved}
            for c in values:
                told |= {f"fresh_{c}": row[c], f"stale_{c}": np.interp(norm, stale.index, stale[c])}
            found.append(told)
    columns = [f"{kind}_{c}" for c in values for kind in ("fresh", "stale")]
    return pd.DataFrame(found, columns=["seed", "duration", "distance", *columns])


def duration_contrasts(table: pd.DataFrame, value: str = "rise") -> pd.DataFrame:
    """Fresh minus stale at equal distance, by application, paired over seeds; Holm over the applications.

    Columns as for `results.contrasts`, with the application's number in `against`.
    """
    found = []
    for k, rows in table.groupby("duration"):
        rows = rows.set_index("seed")
        found.append(paired(rows[f"fresh_{value}"], {k: rows[f"stale_{value}"]}))
    if not found:
        return pd.DataFrame(columns=["against", "n"])
    return with_holm(pd.concat(found, ignore_index=True))


def at_equal_damage(profile: Profile, arm: str) -> pd.DataFrame:
    """D_F at matched damage, the first epoch's stale line minus each other of PATHS, paired, Holm.

    `against` is the pair (layers, method); other columns as for `results.contrasts`.
    """
    readings = matched_damage(profile, arm, layers=None, methods=None)
    wide = readings.pivot_table(index="seed", columns=["layers", "method"], values="oracle_distance")
    others = {where: wide[where] for where in PATHS[1:] if where in wide}
    return paired(wide[REFERENCE], others) if others else pd.DataFrame(columns=["against", "n"])


def with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of several `paired` calls as one family: p_holm anew, over all that have a p."""
    if "p" in table and table["p"].notna().any():
        tested = table["p"].notna()
        table.loc[tested, "p_holm"] = stats.holm(table.loc[tested, "p"])
    return table


def _is(table: pd.DataFrame, layers: str, method: str) -> pd.Series:
    return (table["layers"] == layers) & (table["method"] == method)
