"""Chapter 01: what fine-tuning did. Memorisation, perplexity, the hold-out yardstick, what a ledger holds."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit.report import tables
from unlearnkit.report.ch00_overview import duration
from unlearnkit.report.figures import COLOURS, FAINT, INK, LABELS, MUTED, figure, label_ends, note
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import plan

PERSON_FACTS = 5  # persons with fewer facts are shown together
SETS = {
    "forget": "forget facts",
    "retain": "retain facts",
    "paraphrase": "forget facts, paraphrased",
    "holdout": "hold-out facts",
    "utility": "encyclopedia",
}
MARKS = {"pretrained": "D", "finetuned": "o", "oracle": "*"}


# -- readings ---------------------------------------------------------------------------------------------


def learning(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a training's observations: seed, epoch, exact_memorisation of all facts, and perplexity_change.

    The change is of an encyclopedia's perplexity, as a share of that before training.
    """
    rows, keys = rows[rows["epoch"].notna()], ["seed", "epoch"]
    table = rows[rows["metric"] == "exact_memorisation"].groupby(keys)["value"].mean().to_frame()
    nll = rows[(rows["metric"] == "nll") & (rows["split"] == "utility")].groupby(keys)["value"].mean()
    change = np.exp(nll - nll.groupby("seed").transform("first")) - 1
    table = table.rename(columns={"value": "exact_memorisation"}).assign(perplexity_change=change)
    return table.reset_index()


def learned(rows: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of `learning`, a row a seed."""
    table = learning(rows)
    return table[table["epoch"] == table["epoch"].max()].set_index("seed")


def memorisation_by_person(arm: Arm) -> pd.DataFrame:
    """Mean exact memorisation by person and epoch, over seeds: columns person, epoch, value.

    A forget set goes under its target's name; persons with few facts are "few facts each".
    """
    rows = arm.observations("train")
    rows = rows[rows["metric"] == "exact_memorisation"]
    count = rows.groupby(["seed", "person"])["example"].transform("nunique")
    group = rows["person"].where(count >= PERSON_FACTS, "few facts each")
    rows = rows.assign(person=group.where(rows["split"] != "forget", rows["seed"].map(arm.target_of)))
    return rows.groupby(["person", "epoch"])["value"].mean().reset_index()


def _closeups(arm: Arm) -> pd.DataFrame:
    """All close-ups of an arm: of the fine-tuned and unlearned models, and of the oracles."""
    return pd.concat([arm.observations(stage) for stage in ("portraits", "oracle")], ignore_index=True)


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
    in the seeds that forget him or her. Only attributes that the hold-out covers count, for a target too;
    empty without a hold-out.
    """
    held = arm.settings[0].holdout
    attributes, owner = {e.attribute for e in held}, {e.id: e.person for e in held}
    for setting in arm.settings:
        wanted = [e for e in setting.facts if e.id in setting.forget and e.attribute in attributes]
        owner |= {e.id: setting.target for e in wanted}
    rows = _closeups(arm)
    rows = rows[(rows["metric"] == "nll") & rows["split"].isin(["forget", "holdout"])]
    rows = rows[rows["method"].isin(["oracle", "finetuned"]) & rows["example"].isin(list(owner))]
    rows = rows.assign(person=rows["example"].map(owner))
    table = rows.pivot_table(index="person", columns="method", values="value")
    table = table.reindex(columns=["oracle", "finetuned"]).reset_index()
    return table.assign(is_target=table["person"].isin(arm.targets))


def rewind(run: Run) -> pd.Series:
    """The rewind identity: ledger_error, floor_error, displacement, records; empty without its cell."""
    rows = run.table("rewind")
    return rows.set_index("metric")["value"].astype(float) if len(rows) else pd.Series(dtype=float)


# -- tables -----------------------------------------------------------------------------------------------


def facts(arm: Arm) -> pd.DataFrame:
    """How many facts, and of which kinds, each person has in seed 0; persons in the order of the data."""
    one = arm.settings[0]
    rows = pd.DataFrame(
        (e.person or "(nobody named)", "forget" if e.id in one.forget else e.split, len(e.paraphrases), e)
        for e in one.facts
    ).set_axis(["person", "role", "paraphrases", "words"], axis=1)
    rows["words"] = [len(e.answer.split()) for e in rows["words"]]
    few = rows.groupby("person")["role"].transform("size") < PERSON_FACTS
    rows.loc[few & (rows["role"] == "neighbour"), "person"] = "near-neighbours"
    table = rows.groupby(["person", "role"], sort=False).agg(
        facts=("words", "size"), paraphrases=("paraphrases", "sum"), mean_words=("words", "mean")
    )
    table = table.assign(mean_words=table["mean_words"].round(1)).reset_index()
    return table.rename(columns={"mean_words": "words an answer"})
