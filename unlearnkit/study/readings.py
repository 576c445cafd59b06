"""Readings off a path: where it first costs the retain facts a given number of nats, where the forget facts
are first what they are to the oracles, where it comes closest to these, and values there.

Definitions: retain damage is the mean answer NLL of the retain facts minus that of theta_T;
a reading is the first crossing on the path, linearly interpolated in the step length; an arm that never
crosses is read at its longest step, and marked. D_F is the mean over forget facts of |NLL - the oracles'|.
Between two steps each fact's NLL is linear, and D_F, which is made of them, is not: where some facts pass
their oracle and others do not yet, the line between the two D_F lies above it. Imports no torch.
"""

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from unlearnkit.study.cells import Cell
from unlearnkit.study.tables import read as read_table


def oracle_level(oracles: Iterable[Cell]) -> pd.Series:
    """Each forget fact's NLL, mean over the oracles."""
    rows = pd.concat([read_table(c.observations) for c in oracles])
    rows = rows[(rows["metric"] == "nll") & (rows["split"] == "forget")]
    return rows.groupby("example")["value"].mean()


def start(trained: pd.DataFrame, ids: Collection[str]) -> pd.DataFrame:
    """theta_T as the start of every path: a fine-tuning's last observations of `ids`, and of utility."""
    epoch = pd.to_numeric(trained["epoch"], errors="coerce")
    last = trained[epoch == epoch.max()]
    last = last[last["example"].isin(ids) | (last["split"] == "utility")]
    return last.drop(columns=["epoch", "step"], errors="ignore").assign(
        layers="all", norm=0.0, share=0.0, alpha=0.0
    )


def curve(path: pd.DataFrame, method: str, layers: str, split: str, metric: str = "nll") -> pd.Series:
    """Mean of a metric over a split along one path of one seed, by step length, the start included.

    The split "retain" is every scored fact outside of the request, neighbours among them.
    """
    here = (path["method"] == method) & (path["layers"] == layers) | (path["method"] == "finetuned")
    rows = path[here & (path["metric"] == metric)]
    if split == "retain":
        rows = rows[~rows["split"].isin(["forget", "utility"])]
    else:
        rows = rows[rows["split"] == split]
    return rows.groupby("norm")["value"].mean().sort_index()


def damages(path: pd.DataFrame, method: str, layers: str) -> pd.Series:
    """Retain damage along one path of one seed, nats by step length, from 0 at the start."""
    retain = curve(path, method, layers, "retain")
    return retain - retain.iloc[0]


def crossing(values: pd.Series, level: float) -> tuple[float, bool]:
    """(place, whether it gets there) where a curve, by place, first reaches a level; otherwise its end."""
    x, y = values.index.to_numpy(), values.to_numpy()
    above = np.flatnonzero(y >= level)
    if not len(above):
        return float(x[-1]), False
    k = int(above[0])
    if not k:
        return float(x[0]), True
    return float(x[k - 1] + (level - y[k - 1]) / (y[k] - y[k - 1]) * (x[k] - x[k - 1])), True


def at(series: pd.Series, norm: float) -> float:
    """A curve's value at a step length, linearly interpolated."""
    return float(np.interp(norm, series.index.to_numpy(), series.to_numpy()))


def distances(nll: pd.DataFrame, target: pd.Series, norms: np.ndarray) -> np.ndarray:
    """D_F at step lengths, from the forget facts' NLL (step lengths x facts) and the oracles', by fact.

    NaN where no fact has both.
    """
    away, steps = nll.to_numpy() - target.reindex(nll.columns).to_numpy(), nll.index.to_numpy()
    away = away[:, ~np.isnan(away).all(axis=0)].T
    if not len(away):
        return np.full(len(norms), np.nan)
    known = ~np.isnan(away)  # a fact need not be measured everywhere
    facts = [np.interp(norms, steps[there], fact[there]) for fact, there in zip(away, known, strict=True)]
    return np.abs(facts).mean(axis=0)


def closest(nll: pd.DataFrame, target: pd.Series) -> float:
    """The step length where D_F is smallest, the first of several; NaN where it is nowhere known.

    Between two steps D_F is a broken line, whose corners are where a fact meets its oracle.
    """
    away, steps = (nll - target.reindex(nll.columns)).to_numpy(), nll.index.to_numpy()
    step, fact = np.nonzero(away[:-1] * away[1:] < 0)
    before, after = away[step, fact], away[step + 1, fact]
    meets = steps[step] + before / (before - after) * (steps[step + 1] - steps[step])
    corners = np.unique(np.concatenate([steps, meets]))
    found = distances(nll, target, corners)
    return float(corners[found.argmin()]) if np.isfinite(found).all() else np.nan
