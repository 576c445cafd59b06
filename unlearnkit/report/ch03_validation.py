"""Chapter 03: who influences whom, and is it so? TracIn of all on all, held against retrained models.

A score matrix has a row a trained fact and a column a query. What it predicts of a query is the sum of its
column over the facts that a model was trained on.
"""

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from unlearnkit import stats
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import grid

TRACIN = {"tracin_first": "TracIn, first epoch", "tracin_all": "TracIn, all epochs"}
BASELINES = {"other_query": "scores of another query", "count": "counting the person's facts"}
NAMES = TRACIN | BASELINES
HELD_EQUAL = "own fact held equal"
OWN = ("own fact counted", HELD_EQUAL)
HALF = "half "  # how the labels of random halves begin
RESAMPLES = 1000
FEWEST = 3  # halves, for a rank correlation to say anything


def validated(run: Run) -> Arm | None:
    """The arm whose influence scores are held against retraining; None where the run has none."""
    return next(
        (a for a in run.arms if len(a.observations("tracin")) and len(a.observations("retrain"))), None
    )


def persons(arm: Arm) -> pd.Series:
    """Each trained fact's person, or other group that was left out at once."""
    groups = {k: ids for k, ids in grid.left_out(arm.settings[0]) if not k.startswith(HALF)}
    return pd.Series({i: label for label, ids in groups.items() for i in ids})


@cache
def matrices(arm: Arm) -> dict[str, pd.DataFrame]:
    """Score matrices (facts x queries): TracIn by epoch 1 and by all, and the two that a score must beat.

    other_query   tracin_all with the roles of a query and the next one of the same person exchanged
    count         1 for a fact of the query's person
    """
    rows = arm.observations("tracin")
    order = {"index": rows["example"].unique(), "columns": rows["query"].unique()}  # as the cell had them
    wide = rows.pivot_table("value", "example", ["metric", "query"])
    found = {name: wide[name].reindex(**order) for name in TRACIN}
    scores, owner = found["tracin_all"], persons(arm)
    other = {}
    for _, group in pd.Series(scores.columns).groupby(owner[scores.columns].to_numpy(), sort=False):
        for query, following in zip(group, np.roll(group, -1), strict=True):
            swapped = {query: following, following: query}
            other[query] = scores[following].rename(swapped).reindex(scores.index)
    same = owner[scores.index].to_numpy()[:, None] == owner[scores.columns].to_numpy()
    found["other_query"] = pd.DataFrame(other)[scores.columns]
    return found | {"count": pd.DataFrame(same.astype(float), scores.index, scores.columns)}


def sources(arm: Arm) -> pd.DataFrame:
    """Mean TracIn of each person's facts on each query, a fact on itself left out.

    Columns: score, person, query, owner (the query's person), value.
    """
    owner, found = persons(arm), []
    for name, title in TRACIN.items():
        table = matrices(arm)[name]
        others = table.where(table.index.to_numpy()[:, None] != table.columns.to_numpy())
        means = others.groupby(owner, sort=False).mean().rename_axis("person").reset_index()
        found.append(means.melt("person", var_name="query").assign(score=title))
    table = pd.concat(found, ignore_index=True)
    return table.assign(owner=table["query"].map(owner))


def _retrained(arm: Arm) -> tuple[pd.DataFrame, pd.Series]:
    """NLL of every fact: retrained (facts x labels), and of the model trained on everything, in nats."""
    without = arm.observations("retrain").pivot_table("value", "example", "left_out")
    full = arm.observations("train")
    full = full[(full["seed"] == arm.seeds[0]) & (full["metric"] == "nll") & (full["example"] != "")]
    return without, full[full["epoch"] == full["epoch"].max()].set_index("example")["value"]


def effects(arm: Arm) -> pd.DataFrame:
    """What leaving out a person does to other persons' queries, predicted and actual.

    Columns: scores, left_out, query, person (the query's), predicted (sum of the scores of the facts left out
    on the query), actual (NLL without them minus NLL with, nats). Positive: they helped to learn the query.
    """
    owner, (without, full) = persons(arm), _retrained(arm)
    found = []
    for name, scores in matrices(arm).items():
        predicted = scores.groupby(owner, sort=False).sum()
        for query, person in product(predicted.columns, predicted.index):
            if owner[query] != person:
                actual = without.loc[query, person] - full[query]
                found.append((name, person, query, owner[query], predicted.loc[person, query], actual))
    return pd.DataFrame(found, columns=["scores", "left_out", "query", "person", "predicted", "actual"])


def leave_one_person_out(arm: Arm) -> pd.DataFrame:
    """Rank correlation of predicted and actual effects, by person left out and over all: a table for people.

    Intervals are a bootstrap over queries. A score that tells no query from another, such as a count, has no
    column.
    """
    table, rows = effects(arm), []
    for person, here in [*table.groupby("left_out", sort=False), ("everybody", table)]:
        row = {"left out": person, "pairs": int((here["scores"] == "tracin_all").sum())}
        for name, mine in here.groupby("scores", sort=False):
            # Each query has been left alone by as many retrainings as any other: rows of equal length.
            queries = np.stack([g[["predicted", "actual"]] for _, g in mine.groupby("query", sort=False)])
            rho, low, high = bootstrap(queries, _spearman_of_pairs)
            row |= {NAMES[name]: f"{rho:+.2f} [{low:.2f}, {high:.2f}]"} if rho == rho else {}
        rows.append(row)
    return pd.DataFrame(rows)


@cache
def datamodel_scores(arm: Arm) -> pd.DataFrame:
    """LDS by query: rank correlation over random halves of predicted and actual -NLL (Park et al. 2023).

    Columns: scores, own (one of OWN), query, rho. "counted": over all halves, in which the query's own fact
    is or is not. "held equal": within the halves that have it and within those that do not, averaged by their
    number; only groups of FEWEST halves count. NaN where scores do not tell halves apart.
    """
    (without, _), found = _retrained(arm), []
    halves = {k: set(ids) for k, ids in grid.left_out(arm.settings[0]) if k.startswith(HALF)}
    for name, scores in matrices(arm).items():
        kept = pd.DataFrame(
            {label: ~scores.index.isin(list(ids)) for label, ids in halves.items()}, scores.index
        )
        predicted = scores.T @ kept.astype(float)
        for query in scores:
            x, y = predicted.loc[query].to_numpy(), -without.loc[query, list(halves)].to_numpy()
            has = kept.loc[query].to_numpy()
            groups = [part for part in (has, ~has) if part.sum() >= FEWEST]
            inside = [_spearman(x[part], y[part]) for part in groups]
            equal = np.average(inside, weights=[part.sum() for part in groups]) if groups else np.nan
            found += zip([name] * 2, OWN, [query] * 2, (_spearman(x, y), equal), strict=True)
    return pd.DataFrame(found, columns=["scores", "own", "query", "rho"])


def lead(arm: Arm, score: str = "tracin_all") -> pd.DataFrame:
    """How far a score's LDS exceeds what it must beat, own fact held equal, paired by query.

    Columns: over (words), queries, lead, ci_low, ci_high (bootstrap over queries).
    """
    table = datamodel_scores(arm)
    wide = table[table["own"] == HELD_EQUAL].pivot_table("rho", "query", "scores").dropna()
    leads = {title: (wide[score] - wide[name]).to_numpy() for name, title in BASELINES.items()}
    found = [(title, len(gain), *bootstrap(gain)) for title, gain in leads.items()]
    return pd.DataFrame(found, columns=["over", "queries", "lead", "ci_low", "ci_high"])


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank correlation along the last axis; NaN where one side does not vary."""
    ranks = [rankdata(v, axis=-1) for v in (x, y)]
    a, b = (r - r.mean(axis=-1, keepdims=True) for r in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))


def _spearman_of_pairs(values: np.ndarray) -> np.ndarray:
    """Rank correlation of (..., queries, pairs a query, 2 sides), all pairs of all queries together."""
    flat = values.reshape(*values.shape[:-3], -1, 2)
    return _spearman(flat[..., 0], flat[..., 1])


def bootstrap(
    units: np.ndarray, statistic: Callable = lambda values: values.mean(axis=-1)
) -> tuple[float, float, float]:
    """A statistic of units (along the first axis) and its 95 % percentile interval over resampled units."""
    drawn = np.random.default_rng(0).integers(len(units), size=(RESAMPLES, len(units)))
    resampled = statistic(units[drawn])
    low, high = (np.nan, np.nan) if np.isnan(resampled).all() else np.nanquantile(resampled, (0.025, 0.975))
    return float(statistic(units)), float(low), float(high)


def t_interval(values: pd.Series) -> tuple[float, float]:
    """The 95 % interval of a mean by Student's t."""
    found = stats.mean_ci(values)
    return found.ci_low, found.ci_high
