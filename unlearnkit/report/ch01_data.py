"""Chapter 01: what fine-tuning did. Memorisation, perplexity, and the yardstick of hold-out persons."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unlearnkit.report.run import Arm

PERSON_FACTS = 5  # persons with fewer facts are shown together
WHOSE = {"forget": "target", "retain": "others"}
SETS = {
    "forget": "forget facts",
    "retain": "retain facts",
    "paraphrase": "forget facts, paraphrased",
    "holdout": "hold-out facts",
    "utility": "encyclopedia",
}


def learned(rows: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of a training's observations, by seed: exact_memorisation, start, perplexity_change.

    Memorisation is of all facts, `start` that before training; the change is of an encyclopedia's perplexity.
    """
    rows, keys = rows[rows["epoch"].notna()], ["seed", "epoch"]
    known = rows[rows["metric"] == "exact_memorisation"].groupby(keys)["value"].mean()
    nll = rows[(rows["metric"] == "nll") & (rows["split"] == "utility")].groupby(keys)["value"].mean()
    ends = [series.groupby("seed").agg(["first", "last"]) for series in (known, nll)]
    change = np.exp(ends[1]["last"] - ends[1]["first"]) - 1
    return ends[0].set_axis(["start", "exact_memorisation"], axis=1).assign(perplexity_change=change)


def memorisation(arm: Arm) -> pd.DataFrame:
    """Mean exact memorisation by seed and epoch: columns seed, whose ("target" or "others"), epoch, value.

    Near-neighbours, of whom there is one fact each, are neither.
    """
    rows = arm.observations("train")
    rows = rows[(rows["metric"] == "exact_memorisation") & rows["split"].isin(list(WHOSE))]
    rows = rows.assign(whose=rows["split"].map(WHOSE))
    return rows.groupby(["seed", "whose", "epoch"])["value"].mean().reset_index()


def perplexities(arm: Arm, seeds: Sequence[int] | None = None) -> pd.DataFrame:
    """Perplexity of each set (rows) under each model (columns), averaged over seeds: all, or those named.

    exp of the token-weighted mean NLL of the answers; of running text for "utility". The pretrained model,
    the same for every seed, was asked about seed 0's facts alone. Sets that a run does not have are left out.
    """
    rows = _closeups(arm)
    rows = rows if seeds is None else rows[rows["seed"].isin(seeds)]
    fact = np.where(rows["split"] == "forget", "forget", "retain")
    rows = rows.assign(set=rows["split"].where(rows["split"].isin(list(SETS)[2:]), fact))
    wide = rows[rows["metric"].isin(["nll", "n_tokens"])].pivot_table(
        index=["example", "split", "set", "method", "seed"], columns="metric", values="value"
    )
    tokens = wide["n_tokens"].fillna(1)  # running text comes as its mean
    sums = wide.assign(total=wide["nll"] * tokens, n_tokens=tokens).groupby(["set", "method", "seed"]).sum()
    found = np.exp(sums["total"] / sums["n_tokens"]).rename("perplexity").reset_index()
    table = found.pivot_table(index="set", columns="method", values="perplexity")
    return table.reindex([name for name in SETS if name in table.index])


def yardstick(arm: Arm) -> pd.DataFrame:
    """Mean answer NLL of never-trained persons and of the targets, a row a seed and person.

    Columns: seed, person, is_target, then `oracle` and `finetuned` (nats; an oracle is the mean of the
    seed's). Only attributes that the seed's hold-out covers count, for a target too; empty without one.
    """
    owner = {}
    for setting in arm.settings:
        attributes = {e.attribute for e in setting.holdout}
        wanted = [e for e in setting.facts if e.id in setting.forget and e.attribute in attributes]
        owner |= {(setting.seed, e.id): e.person for e in setting.holdout}
        owner |= {(setting.seed, e.id): setting.target for e in wanted}
    rows = _closeups(arm)
    rows = rows[(rows["metric"] == "nll") & rows["split"].isin(["forget", "holdout"])]
    rows = rows[rows["method"].isin(["oracle", "finetuned"])]
    whose = [owner.get(key, "") for key in zip(rows["seed"], rows["example"], strict=True)]
    rows = rows.assign(person=whose, is_target=rows["split"] == "forget").query("person != ''")
    keys = ["seed", "person", "is_target"]
    table = rows.pivot_table(index=keys, columns="method", values="value")
    return table.reindex(columns=["oracle", "finetuned"]).reset_index()


def _closeups(arm: Arm) -> pd.DataFrame:
    """All close-ups of an arm: of the fine-tuned and unlearned models, and of the oracles."""
    return pd.concat([arm.observations(stage) for stage in ("portraits", "oracle")], ignore_index=True)
