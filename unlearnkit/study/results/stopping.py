"""Rules for stopping the ascent (claim C4): where each stops, and what the model has lost and kept there.

All readings are linear between two measured steps of a path, the start being its first; D_F is made of facts
that are read so one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.calibration import PATHS, REFERENCE, is_path, paths_of
from unlearnkit.study.results.matched import distance_at, paired
from unlearnkit.study.results.observed import observations
from unlearnkit.study.results.paths import along

VALUES = [
    *("norm", "share", "forget_nll", "rise", "oracle_gap", "oracle_distance", "damage", "bystander_damage"),
    *("perplexity_ratio", "exact_memorisation", "rougeL_recall"),
]


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
                values["oracle_distance"] = distance_at(profile, arm, (seed, layers, method), values["norm"])
                found.append(where | {"met": met} | values.to_dict())
    return pd.DataFrame(found, columns=["seed", "layers", "method", "rule", "met", *VALUES])


def stop(
    path: pd.DataFrame, column: str, level: float, falling: bool = False, values: Sequence[str] = VALUES
) -> tuple[pd.Series, bool]:
    """(`values` where one seed's path first reaches the level, whether it does); the last step if not.

    What a path measures at every second step only is interpolated between these; perplexity in its logarithm,
    the NLL that it stands for.
    """
    path = path.sort_values("share")
    missing = (path[column] - level).to_numpy() * (1 if falling else -1)  # positive: not there yet
    path = path[list(values)].set_index(path["share"])
    logs = [c for c in ("perplexity_ratio",) if c in path]
    path = path.assign(**np.log(path[logs])).interpolate("index", limit_area="inside")
    there = np.flatnonzero(missing <= 0)
    k = int(there[0]) if there.size else len(path) - 1
    found = path.iloc[k]
    if there.size and k > 0:
        part = missing[k - 1] / (missing[k - 1] - missing[k])
        found = path.iloc[k - 1] + part * (path.iloc[k] - path.iloc[k - 1])
    return pd.concat([found.drop(logs), np.exp(found[logs])]), bool(there.size)


def rule_contrasts(table: pd.DataFrame, value: str = "oracle_distance") -> pd.DataFrame:
    """On the reference path of `stops`: the oracle-matched rule minus each other, paired over seeds, Holm.

    Columns as for `results.contrasts`; only seeds in which both rules are met.
    """
    mine = table[is_path(table, *REFERENCE) & table["met"]]
    wide = mine.pivot_table(index="seed", columns="rule", values=value)
    if "oracle" not in wide or len(wide.columns) < 2:
        return pd.DataFrame(columns=["against", "n"])
    found = paired(wide["oracle"], {rule: wide[rule] for rule in RULES if rule in wide and rule != "oracle"})
    return found[found["n"] > 0].reset_index(drop=True)
