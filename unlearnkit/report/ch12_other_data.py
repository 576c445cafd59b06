"""Chapter 12, other data: methods at matched forgetting on long passages, authors, and false facts."""

from collections.abc import Sequence
from functools import cache

import pandas as pd

from unlearnkit.report import ch11_verification as grid
from unlearnkit.report import tables
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import diverse, judged_on

ENDS = {"pretrained": "before training", "oracle": "oracle"}  # models that no method made


def of_run(run: Run) -> list[Arm]:
    """The arms of other data that methods were walked on."""
    return [run.variants[name] for name in diverse.kinds() if name in run.variants]


@cache
def readings(arm: Arm) -> pd.DataFrame:
    """What each method is at matched forgetting on other data, a row a method and seed.

    Columns: method, seed, reached, price (what the retain facts have lost), distance (D_F), text (what
    running text has lost), and by what was watched `known: SPLIT`, the NLL of what training did not teach.
    Nats. The rows of "noop" are the fine-tuned model's; those of ENDS tell what is known there.
    """
    rows, oracles = arm.observations("verified"), arm.observations("verified_oracles")
    start, found = rows[rows["method"] == "noop"], []
    for name, here in rows.groupby("method", sort=False):
        table = judged_on.equivalence(here, oracles, start)[["distance"]]
        for column, split in {"price": "retain", "text": "utility"}.items():
            table[column] = _level(here, split) - _level(start, split)
        table["reached"] = here.groupby("seed")["reached"].first()
        found.append(table.join(_known(here)).assign(method=name))
    found += [_known(oracles).assign(method="oracle"), _known(oracles, True).assign(method="pretrained")]
    return pd.concat(found).rename_axis("seed").reset_index()


def _level(rows: pd.DataFrame, split: str) -> pd.Series:
    return rows[(rows["metric"] == "nll") & (rows["split"] == split)].groupby("seed")["value"].mean()


def _known(rows: pd.DataFrame, at_first: bool = False) -> pd.DataFrame:
    """Of each split that was watched, its NLL in each seed; or what it had been before training."""
    rows = rows[(rows["metric"] == "nll_known") & (rows["split"].str.endswith(diverse.AT_FIRST) == at_first)]
    table = rows.pivot_table("value", "seed", "split")
    return table.rename(columns=lambda split: f"known: {split.removesuffix(diverse.AT_FIRST)}")


def prices(arms: Sequence[Arm]) -> pd.DataFrame:
    """`readings` of every arm in words: prices and distances, means over seeds [95 %]."""
    parts = []
    for arm in arms:
        found = readings(arm)
        found = found[~found["method"].isin(["noop", *ENDS])]
        told = tables.over_seeds(
            found, ["method"], {"price": "others lose", "distance": "D_F", "text": "text rises"}
        )
        gets = found.groupby("method", sort=False)["reached"].agg(["sum", "size"]).loc[told["method"]]
        told.insert(
            1, "forgets on the mean in", [f"{int(k)} of {n}" for k, n in gets.itertuples(index=False)]
        )
        told["method"] = [grid.title(name) for name in told["method"]]
        told.insert(0, "data", arm.variant)
        parts.append(told)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def watched(arms: Sequence[Arm]) -> pd.DataFrame:
    """The NLL of what training did not teach: before it, after it, to the oracle, after each method."""
    parts = []
    for arm in arms:
        found = readings(arm)
        if columns := {c: c.removeprefix("known: ") for c in found if c.startswith("known: ")}:
            order = ["pretrained", "noop", "oracle"]
            rank = {name: order.index(name) if name in order else len(order) for name in found["method"]}
            found = found.sort_values("method", key=lambda m: m.map(rank), kind="stable")
            told = found.melt(["method", "seed"], list(columns), "watched", "nll").dropna()
            told["watched"] = told["watched"].map(columns)
            told = tables.over_seeds(told, ["watched", "method"], {"nll": "NLL"})
            told["method"] = [ENDS.get(name) or grid.title(name) for name in told["method"]]
            told.insert(0, "data", arm.variant)
            parts.append(told)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
