"""Where stored gradients point: towards the retrained model, and along or against today's gradient.

Unlearning adds +alpha * gradient, so that cos(gradient of epoch e, theta_oracle - theta_T) above 0 means that
the step leads towards the retrained model, to first order in the weights.

A tied token matrix has two gradients, kept apart as embedding.input and embedding.output. Totals over layers
add their inner products with the oracle's way exactly, and count that way once; the inner product of one
role's gradient with the other's was not measured and is left out (`tied` says where).
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from unlearnkit import profiles
from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study.results.observed import arm_of, arms, observations
from unlearnkit.study.results.verdicts import claim_values

ORACLE, NOW, ALL = "oracle", "now", "all_epochs"
OVERLAPPING = "norms"  # also parts of the blocks
ROLES = ("embedding.input", "embedding.output")
TOTALS = ("all", "embedding", "blocks")


def cosines(profile: Profile, arm: str) -> pd.DataFrame:
    """Every epoch's summed forget gradient against the way to the oracle and against today's gradient.

    Columns: seed, epoch, layers (elementary names, and the totals "all", "embedding", "blocks"),
    with_oracle, with_now (cosines), norm. Empty where the run has no alignment cells.
    """
    table = vectors(profile, arm)
    mine = table[table["vector"].str.startswith("epoch_")]
    mine = mine.assign(epoch=mine["vector"].str.removeprefix("epoch_").astype(int))
    columns = ["seed", "epoch", "layers", "with_oracle", "with_now", "norm"]
    return mine.sort_values(["seed", "layers", "epoch"])[columns].reset_index(drop=True)


def vectors(profile: Profile, arm: str) -> pd.DataFrame:
    """The columns of `cosines` for every vector: `vector` is epoch_e, all_epochs (their sum), wrong_person,
    now, retain_now or oracle."""
    found = []
    for (seed, layers), gram in _grams(profile.name, arm).items():
        norm = np.sqrt(np.diag(gram).clip(0))
        norm = pd.Series(norm, index=gram.index).replace(0.0, np.nan)
        rows = pd.DataFrame({"vector": gram.index, "norm": norm.to_numpy()})
        for other in (ORACLE, NOW):
            rows[f"with_{other}"] = (gram[other] / norm / norm[other]).to_numpy()
        found.append(rows.assign(seed=seed, layers=layers))
    columns = ["vector", "norm", "with_oracle", "with_now", "seed", "layers"]
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=columns).astype({"vector": str})
    )


def shares(profile: Profile, arm: str) -> pd.DataFrame:
    """Each epoch's share of the forget set's whole stored gradient: <g_e, S> / <S, S>, S the sum over epochs.

    Columns: seed, layers, epoch, share; the shares of a seed and layer add up to 1. With plain SGD they are
    shares of the way that these facts' own steps have moved the weights.
    """
    found = []
    for (seed, layers), gram in _grams(profile.name, arm).items():
        for name in (n for n in gram.index if n.startswith("epoch_")):
            share = gram.loc[name, ALL] / gram.loc[ALL, ALL]
            found.append({"seed": seed, "layers": layers, "epoch": int(name[6:]), "share": share})
    return pd.DataFrame(found, columns=["seed", "layers", "epoch", "share"])


def tied(profile: Profile, arm: str) -> bool:
    """Whether input and output part are one matrix: the oracle's way is then the same vector for both."""
    found = [_own(profile, arm, role) for role in ROLES]
    return bool(len(found[0])) and np.allclose(*found)


def _own(profile: Profile, arm: str, role: str) -> np.ndarray:
    rows = _rows(profile, arm)
    rows = rows[(rows["layers"] == role) & (rows["a"] == ORACLE) & (rows["b"] == ORACLE)]
    return rows.sort_values("seed")["value"].to_numpy()


def _rows(profile: Profile, arm: str) -> pd.DataFrame:
    """Observations of the alignment cells; none where the run has no such cell."""
    try:
        rows = observations(profile, "alignment", arm)
    except DataError:
        return pd.DataFrame(columns=["seed", "layers", "a", "b", "value"])
    return rows[rows["metric"] == "gram"]


@cache
def _grams(name: str, arm: str) -> dict[tuple[int, str], pd.DataFrame]:
    """By seed and layers (elementary ones and totals) the Gram matrix, `all_epochs` among its vectors."""
    profile = profiles.get(name)
    one_matrix, found = tied(profile, arm), {}
    for seed, rows in _rows(profile, arm).groupby("seed"):
        parts = {n: g.pivot_table(index="a", columns="b", values="value") for n, g in rows.groupby("layers")}
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
    epochs = [n for n in gram.index if n.startswith("epoch_")]
    gram = pd.concat([gram, gram.loc[epochs].sum().to_frame(ALL).T])
    gram[ALL] = gram[epochs].sum(axis=1)
    return gram


# -- the theory of the first epoch (verification.md 1.3) ---------------------------------------------------


def first_share(rate: float, steps: int, epochs: int) -> float:
    """Epoch 1's share of the way along one curvature direction, `rate` = learning rate * curvature.

    [1 - (1 - rate)^steps] / [1 - (1 - rate)^(steps * epochs)], `steps` an epoch; 1 / epochs where rate is 0.
    """
    kept = (1 - rate) ** steps
    return 1 / epochs if rate == 0 else (1 - kept) / (1 - kept**epochs)


def implied_rate(share: float, steps: int, epochs: int) -> float:
    """The rate that gives this first share; NaN outside of what a rate in (0, 1) can give."""
    if not 1 / epochs < share < 1:
        return np.nan
    return float(brentq(lambda rate: first_share(rate, steps, epochs) - share, 1e-9, 1 - 1e-9))


THEORY = (
    "arm",
    "optimizer",
    "lr",
    "epochs",
    "steps",
    "seeds",
    "uniform",
    "share",
    "rate",
    "first",
    "all",
    "C1",
)


def theory(profile: Profile) -> pd.DataFrame:
    """A row an arm: how much of the way epoch 1 made, where it points, and how C1 came out there.

    Columns: arm, optimizer, lr, epochs, steps (an epoch), seeds, uniform (1 / epochs), share (of epoch 1,
    mean over seeds), rate (that this share implies), first and all (cosine of the epoch's and of all epochs'
    gradient with the way to the oracle), C1 (its contrast, mean over seeds; NaN where not measured).
    """
    found = []
    for name in (a.name for a in arms(profile)):
        here, table = arm_of(profile, name), vectors(profile, name)
        if table.empty:
            continue
        recipe, setting = here.recipe, here.settings[0]
        steps = -(-len(setting.facts) // recipe["batch_size"])
        told = shares(profile, name)
        share = told[(told["layers"] == "all") & (told["epoch"] == 1)]["share"].mean()
        whole = table[table["layers"] == "all"].groupby("vector")["with_oracle"].mean()
        found.append(
            {
                **{"arm": name, "optimizer": here.optimizer, "lr": recipe["lr"], "epochs": recipe["epochs"]},
                **{"steps": steps, "seeds": len(here.seeds), "uniform": 1 / recipe["epochs"], "share": share},
                "rate": implied_rate(share, steps, recipe["epochs"]),
                **{"first": whole["epoch_1"], "all": whole[ALL]},
                "C1": claim_values(profile, name).get("C1", pd.Series(dtype=float)).mean(),
            }
        )
    return pd.DataFrame(found, columns=THEORY)


def agreement(table: pd.DataFrame) -> float:
    """Rank correlation over arms of epoch 1's share and C1's contrast; NaN of fewer than three arms."""
    told = table.dropna(subset=["share", "C1"])
    return float(told["share"].corr(told["C1"], method="spearman")) if len(told) > 2 else np.nan
