"""The retrained oracles, the target of every update, and the distance to them (D_F of field.md)."""

import numpy as np
import pandas as pd

from unlearnkit.profiles import Profile
from unlearnkit.study.results.observed import arm_of, observations


def oracle_nll(profile: Profile, arm: str) -> pd.DataFrame:
    """NLL of each forget fact under the oracle of each seed: examples x seeds, of the seed's target only."""
    rows = observations(profile, "oracle", arm)
    rows = rows[(rows["metric"] == "nll") & (rows["split"] == "forget")]
    return rows.pivot_table(index="example", columns="seed", values="value")


def oracle_distance(nll: pd.Series, oracles: pd.DataFrame) -> float:
    """D_F: mean over forget facts of |NLL_i - mean over oracle seeds of NLL_i|, in nats.

    The oracles are all those without the facts of `nll`, whatever their order of training.
    """
    return float((nll - oracles.reindex(nll.index).mean(axis=1)).abs().mean())


def oracle_floor(oracles: pd.DataFrame) -> float | None:
    """D_F of one oracle against the mean of the others without the same target; None where there are none."""
    found = []
    for seed in oracles:
        own = oracles[seed].dropna()
        others = oracles.drop(columns=seed).reindex(own.index).dropna(axis=1)
        if others.shape[1]:
            found.append(oracle_distance(own, others))
    return float(np.mean(found)) if found else None


def oracle_points(profile: Profile, arm: str) -> pd.DataFrame:
    """The oracles in the columns of `path_table`, a row a seed.

    Their retain NLL counts the facts that a path scores. Their perplexity, measured on more text than a
    path's, is given as a ratio to the fine-tuned model's on that same text.
    """
    tuned = observations(profile, "portraits", arm)
    rows = {
        "oracle": observations(profile, "oracle", arm),
        "finetuned": tuned[tuned["method"] == "finetuned"],
    }
    found = []
    for setting in arm_of(profile, arm).settings:
        retain = [e.id for e in setting.retain()]
        sets = {
            "forget": list(setting.forget),
            "retain": retain,
            "bystander": [i for i in retain if i not in setting.control] or retain,
        }

        def mean(method: str, ids: list[str], metric: str = "nll", seed: int = setting.seed) -> float:
            here = rows[method]
            here = here[(here["seed"] == seed) & (here["metric"] == metric) & here["example"].isin(ids)]
            return here.loc[here["split"] != "paraphrase", "value"].mean()

        found.append(
            {
                "seed": setting.seed,
                "forget_nll": mean("oracle", sets["forget"]),
                "retain_nll": mean("oracle", sets["retain"]),
                "damage": mean("oracle", sets["retain"]) - mean("finetuned", sets["retain"]),
                "bystander_damage": mean("oracle", sets["bystander"]) - mean("finetuned", sets["bystander"]),
                "rougeL_recall": mean("oracle", sets["forget"], "rougeL_recall"),
                "perplexity_ratio": mean("oracle", [""], "perplexity")
                / mean("finetuned", [""], "perplexity"),
            }
        )
    return pd.DataFrame(found).set_index("seed")
