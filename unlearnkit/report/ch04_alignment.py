"""Chapter 04: where stored gradients point, towards the retrained model and along today's gradient.

Unlearning adds +alpha * gradient, so that cos(gradient of epoch e, theta_oracle - theta_T) above 0 means that
the step leads towards the retrained model, to first order in the weights. A tied token matrix has two
gradients, kept apart as embedding.input and embedding.output. Totals over layers add their inner products
with the oracle's way exactly, and count that way once; the inner product of one role's gradient with the
other's was not measured and is left out (`tied` says where).
"""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import frame

ORACLE, NOW, ALL = "oracle", "now", "all_epochs"
EPOCH = "epoch_"
OVERLAPPING = "norms"  # every norm is a part of the blocks too
ROLES = ("embedding.input", "embedding.output")
# Vectors that are updates, and the methods of `figures` that they are.
UPDATES = {"epoch_1": "first_epoch", ALL: "all_epochs", "adam_first": "adam_first"}
UPDATES |= {"adam_replay": "adam_replay", "wrong_person": "wrong_person"}


def cosines(arm: Arm) -> pd.DataFrame:
    """`vectors` of single epochs, with a column epoch; sorted by seed, layers and epoch."""
    table = vectors(arm)
    mine = table[table["vector"].str.startswith(EPOCH)]
    mine = mine.assign(epoch=mine["vector"].str.removeprefix(EPOCH).astype(int))
    return mine.sort_values(["seed", "layers", "epoch"]).reset_index(drop=True)


@cache
def vectors(arm: Arm) -> pd.DataFrame:
    """Every vector against the way to the oracle and against today's gradient; no rows without such cells.

    Columns: seed, layers (elementary names, and the totals "all", "embedding", "blocks"), vector (epoch_e,
    all_epochs (their sum), wrong_person, now, retain_now, oracle, and with AdamW adam_first and adam_replay),
    norm, with_oracle, with_now (cosines), share (of the sum S over epochs: <vector, S> / <S, S>; those of
    the epochs add up to 1, and with plain SGD are shares of the way that the forget facts' own steps have
    moved the weights).
    """
    columns, found = ["seed", "layers", "vector", "norm", "with_oracle", "with_now", "share"], []
    for (seed, layers), gram in _grams(arm).items():
        norm = pd.Series(np.sqrt(np.diag(gram).clip(0)), gram.index).replace(0.0, np.nan)
        rows = pd.DataFrame({"norm": norm, "share": gram[ALL] / gram.loc[ALL, ALL]})
        for other in (ORACLE, NOW):
            rows[f"with_{other}"] = gram[other] / norm / norm[other]
        found.append(rows.rename_axis("vector").reset_index().assign(seed=seed, layers=layers))
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns, dtype=float)
    return table[columns].astype({"vector": str})


def aims(run: Run) -> pd.DataFrame:
    """Cosine of every update with the way to the oracle, on all layers: arm, update (a method), seed, cosine.

    In the order of UPDATES; an arm's updates that were not measured have no rows.
    """
    found = []
    for arm in run.arms:
        table = vectors(arm)
        table = table[(table["layers"] == "all") & table["vector"].isin(UPDATES)].dropna(subset="with_oracle")
        table = table.sort_values("vector", key=lambda names: names.map(list(UPDATES).index), kind="stable")
        rows = zip(table["vector"].map(UPDATES), table["seed"], table["with_oracle"], strict=True)
        found += [(arm.name, *row) for row in rows]
    return frame(found, "arm", "update", "seed", "cosine")


def shortened(cosine: pd.Series) -> pd.Series:
    """By how much of its length the way to the oracle is shortened, at best, by a step at that cosine."""
    return 1 - np.sqrt(1 - cosine.clip(lower=0) ** 2)


def tied(arm: Arm) -> bool:
    """Whether input and output part are one matrix: the oracle's way is then the same vector for both."""
    rows = _rows(arm)
    own = rows[(rows["a"] == ORACLE) & (rows["b"] == ORACLE)].pivot_table("value", "seed", "layers")
    return set(ROLES) <= set(own) and np.allclose(*(own[role] for role in ROLES))


def _rows(arm: Arm) -> pd.DataFrame:
    """Every element of the matrices, of which the data may hold one triangle."""
    rows = arm.observations("alignment").reindex(columns=["seed", "layers", "a", "b", "value"])
    both = pd.concat([rows, rows.rename(columns={"a": "b", "b": "a"})])
    return both.drop_duplicates(["seed", "layers", "a", "b"])


def _grams(arm: Arm) -> dict[tuple[int, str], pd.DataFrame]:
    """By seed and layers (elementary ones and totals) the Gram matrix, `all_epochs` among its vectors."""
    one_matrix, found = tied(arm), {}
    for seed, rows in _rows(arm).groupby("seed"):
        wide = rows.pivot_table("value", ["layers", "a"], "b")
        parts = {name: gram.droplevel("layers") for name, gram in wide.groupby(level="layers")}
        members = {
            "all": [n for n in parts if n != OVERLAPPING],
            "embedding": [n for n in ROLES if n in parts],
            "blocks": [n for n in parts if n.startswith("block.")],
        }
        for total, names in members.items():
            if not names:
                continue
            gram = sum(parts[n] for n in names)
            if one_matrix and total != "blocks":
                gram.loc[ORACLE, ORACLE] -= parts[ROLES[1]].loc[ORACLE, ORACLE]
            found[seed, total] = _with_sum(gram)
        found |= {(seed, n): _with_sum(gram) for n, gram in parts.items()}
    return found


def _with_sum(gram: pd.DataFrame) -> pd.DataFrame:
    """The same with one vector more: the sum of all epochs."""
    epochs = [n for n in gram.index if n.startswith(EPOCH)]
    gram = pd.concat([gram, gram.loc[epochs].sum().to_frame(ALL).T])
    gram[ALL] = gram[epochs].sum(axis=1)
    return gram
