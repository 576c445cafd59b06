"""The retrained oracles, the target of every update, and the distance to them (D_F)."""

from functools import cache

import pandas as pd

from unlearnkit.report.run import Arm


@cache
def oracle_nll(arm: Arm) -> pd.DataFrame:
    """NLL of each forget fact under the oracle of each seed: examples x seeds, of the seed's target only."""
    rows = arm.observations("oracle")
    rows = rows[(rows["metric"] == "nll") & (rows["split"] == "forget")]
    return rows.pivot_table(index="example", columns="seed", values="value")


def oracle_distance(nll: pd.Series, oracles: pd.DataFrame) -> float:
    """D_F of forget facts' NLLs, in nats."""
    return float((nll - oracles.reindex(nll.index).mean(axis=1)).abs().mean())


def oracle_spread(arm: Arm) -> pd.DataFrame:
    """Each oracle against the others without the same facts: seed, distance (D_F), gap (signed), nats."""
    nll, rows = oracle_nll(arm), []
    for seed in nll:
        own = nll[seed].dropna()
        others = nll.drop(columns=seed).reindex(own.index).dropna(axis=1)
        if others.shape[1]:
            gap = (own - others.mean(axis=1)).mean()
            rows.append({"seed": seed, "distance": oracle_distance(own, others), "gap": gap})
    return pd.DataFrame(rows, columns=["seed", "distance", "gap"])


def oracle_floor(arm: Arm) -> float | None:
    """D_F of one oracle against the others of its target, mean over seeds; None where there are no others."""
    spread = oracle_spread(arm)
    return float(spread["distance"].mean()) if len(spread) else None


@cache
def oracle_points(arm: Arm) -> pd.DataFrame:
    """The oracles in the columns of `path_table`, a row a seed.

    Their retain NLL counts the facts that a path scores. Running text, measured on more of it than on a path,
    is held against the fine-tuned model on that same text.
    """
    tuned = arm.observations("portraits")
    tuned, oracle = tuned[tuned["method"] == "finetuned"], arm.observations("oracle")
    found = []
    for setting in arm.settings:
        retain = [e.id for e in setting.retain()]
        near = [i for i in retain if i not in setting.control] or retain

        def mean(rows: pd.DataFrame, ids, metric: str = "nll", seed: int = setting.seed) -> float:
            here = rows[(rows["seed"] == seed) & (rows["metric"] == metric) & rows["example"].isin(ids)]
            return here.loc[here["split"] != "paraphrase", "value"].mean()

        found.append(
            {
                "seed": setting.seed,
                "forget_nll": mean(oracle, setting.forget),
                "retain_nll": mean(oracle, retain),
                "damage": mean(oracle, retain) - mean(tuned, retain),
                "bystander_damage": mean(oracle, near) - mean(tuned, near),
                "rougeL_recall": mean(oracle, setting.forget, "rougeL_recall"),
                "utility_rise": mean(oracle, [""]) - mean(tuned, [""]),
            }
        )
    return pd.DataFrame(found).set_index("seed")
