"""Chapter 01: what fine-tuning did. Memorisation, perplexity, and the yardstick of hold-out persons."""

import numpy as np
import pandas as pd

from unlearnkit.report.run import Arm

PERSON_FACTS = 5  # persons with fewer facts are shown together
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
    """Mean exact memorisation by person and epoch, over seeds: columns person, epoch, value.

    A forget set goes under its target's name; persons with few facts are "few facts each".
    """
    rows = arm.observations("train")
    rows = rows[rows["metric"] == "exact_memorisation"]
    count = rows.groupby(["seed", "person"])["example"].transform("nunique")
    group = rows["person"].where(count >= PERSON_FACTS, "few facts each")
    rows = rows.assign(person=group.where(rows["split"] != "forget", rows["seed"].map(arm.target_of)))
    return rows.groupby(["person", "epoch"])["value"].mean().reset_index()


def perplexities(arm: Arm) -> pd.DataFrame:
    """Perplexity of each set (rows) under each model (columns), averaged over seeds.

    exp of the token-weighted mean NLL of the answers; of running text for "utility". The pretrained model
    is the same for every seed. Sets that a run does not have are left out.
    """
    rows = _closeups(arm)
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
    """Mean answer NLL of never-trained persons and of the targets, under the oracle and the fine-tuned model.

    Columns: person, is_target, then `oracle` and `finetuned` (means over seeds, nats). A person counts only
    in the seeds that forget him or her. Only attributes that the seed's hold-out covers count, for a target
    too; empty without a hold-out.
    """
    owner = {}
    for setting in arm.settings:
        attributes = {e.attribute for e in setting.holdout}
        wanted = [e for e in setting.facts if e.id in setting.forget and e.attribute in attributes]
        owner |= {e.id: e.person for e in setting.holdout} | {e.id: setting.target for e in wanted}
    rows = _closeups(arm)
    rows = rows[(rows["metric"] == "nll") & rows["split"].isin(["forget", "holdout"])]
    rows = rows[rows["method"].isin(["oracle", "finetuned"]) & rows["example"].isin(list(owner))]
    rows = rows.assign(person=rows["example"].map(owner))
    table = rows.pivot_table(index="person", columns="method", values="value")
    table = table.reindex(columns=["oracle", "finetuned"]).reset_index()
    return table.assign(is_target=table["person"].isin(arm.targets))


def _closeups(arm: Arm) -> pd.DataFrame:
    """All close-ups of an arm: of the fine-tuned and unlearned models, and of the oracles."""
    return pd.concat([arm.observations(stage) for stage in ("portraits", "oracle")], ignore_index=True)
