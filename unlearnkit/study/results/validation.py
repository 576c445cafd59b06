"""Who influences whom, and is it so: TracIn of all on all, held against models retrained without some facts.

A score matrix has a row a trained fact and a column a query. What it predicts of a query is the sum of its
column over the facts that a model was trained on.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from unlearnkit import stats
from unlearnkit.profiles import Profile
from unlearnkit.study import cells
from unlearnkit.study.results.observed import arm_of, observations

TRACIN = {"tracin_first": "TracIn, first epoch", "tracin_all": "TracIn, all epochs"}
BASELINES = {"other_query": "scores of another query", "count": "counting the person's facts"}
SELF = {"counted": "own fact counted", "equal": "own fact held equal"}
HALF = "half "  # how the labels of random halves begin
RESAMPLES = 1000
FEWEST = 3  # halves, for a rank correlation to say anything


def validated_arm(profile: Profile) -> str | None:
    """The arm whose influence scores are held against retraining; None where the run has none."""
    return next((c.config["arm"] for c in cells(profile) if c.stage == "tracin"), None)


def left_out(profile: Profile, arm: str) -> dict[str, list[str]]:
    """By label of a retraining, the facts that it left out: a person's, or a random half."""
    mine = (c.config for c in cells(profile) if c.stage == "retrain" and c.config["arm"] == arm)
    return {config["label"]: config["exclude"] for config in mine}


def persons(profile: Profile, arm: str) -> pd.Series:
    """Each trained fact's person; near-neighbours, a fact each, are one."""
    groups = {k: ids for k, ids in left_out(profile, arm).items() if not k.startswith(HALF)}
    return pd.Series({i: label for label, ids in groups.items() for i in ids})


def matrices(profile: Profile, arm: str) -> dict[str, pd.DataFrame]:
    """Score matrices (facts x queries): TracIn by epoch 1 and by all, and the two that a score must beat.

    other_query   tracin_all with the roles of a query and the next one of the same person exchanged
    count         1 for a fact of the query's person
    """
    rows = observations(profile, "tracin", arm)
    order = {"index": rows["example"].unique(), "columns": rows["query"].unique()}  # as the cell had them
    tables = {name: rows[rows["metric"] == name].pivot_table("value", "example", "query") for name in TRACIN}
    found = {name: table.reindex(**order) for name, table in tables.items()}
    scores, owner = found["tracin_all"], persons(profile, arm)
    other = {}
    for _, group in pd.Series(scores.columns).groupby(owner[scores.columns].to_numpy(), sort=False):
        for query, following in zip(group, np.roll(group, -1), strict=True):
            column = scores[following].copy()
            column[[query, following]] = column[[following, query]].to_numpy()
            other[query] = column
    same = owner[scores.index].to_numpy()[:, None] == owner[scores.columns].to_numpy()
    found["other_query"] = pd.DataFrame(other)[scores.columns]
    return found | {"count": pd.DataFrame(same.astype(float), scores.index, scores.columns)}


def sources(profile: Profile, arm: str) -> pd.DataFrame:
    """Mean TracIn of each person's facts on a query person's facts, a fact on itself left out.

    Columns: metric, person, query (person), value with ci_low and ci_high (over the query person's facts; NaN
    of one), size (mean absolute value), own (mean of a fact on itself), own_share (mean share of a fact in
    all influence on it, in absolute values).
    """
    owner, scores, found = persons(profile, arm), matrices(profile, arm), []
    for metric in TRACIN:
        table = scores[metric]
        own = pd.Series({q: table.loc[q, q] for q in table})
        share = (own.abs() / table.abs().sum()).groupby(owner).mean()
        others = table.where(table.index.to_numpy()[:, None] != table.columns.to_numpy())
        for query, queries in own.groupby(owner[own.index], sort=False):
            told = {"metric": metric, "query": query, "own": queries.mean(), "own_share": share[query]}
            for person, facts in others[queries.index].groupby(owner, sort=False):
                size = np.nanmean(facts.abs().to_numpy())
                found.append(told | {"person": person, "size": size, **_with_interval(facts.mean())})
    return pd.DataFrame(found)


def _with_interval(values: pd.Series) -> dict[str, float]:
    """The mean of what is there, with its interval where it has one."""
    values = values.dropna()
    found = {"value": values.mean(), "ci_low": np.nan, "ci_high": np.nan}
    if len(values) > 1:
        interval = stats.mean_ci(values)
        found |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
    return found


def _retrained(profile: Profile, arm: str) -> tuple[pd.DataFrame, pd.Series]:
    """NLL of every fact: retrained (facts x labels), and of the model trained on everything, in nats."""
    rows = observations(profile, "retrain", arm)
    without = rows.pivot_table("value", "example", "left_out")
    full = observations(profile, "train", arm)
    full = full[(full["seed"] == arm_of(profile, arm).seeds[0]) & (full["metric"] == "nll")]
    full = full[(full["epoch"] == full["epoch"].max()) & (full["example"] != "")]
    return without, full.set_index("example")["value"]


def effects(profile: Profile, arm: str) -> pd.DataFrame:
    """What leaving out a person does to other persons' queries, predicted and actual.

    Columns: scores, left_out, query, person (the query's), predicted (sum of the scores of the facts left out
    on the query), actual (NLL without them minus NLL with, nats). Positive: they helped to learn the query.
    """
    owner, (without, full) = persons(profile, arm), _retrained(profile, arm)
    found = []
    for name, scores in matrices(profile, arm).items():
        predicted = scores.groupby(owner, sort=False).sum()
        for query, person in product(predicted.columns, predicted.index):
            if owner[query] != person:
                actual = without.loc[query, person] - full[query]
                found.append((name, person, query, owner[query], predicted.loc[person, query], actual))
    columns = ["scores", "left_out", "query", "person", "predicted", "actual"]
    return pd.DataFrame(found, columns=columns)


def leave_one_person_out(profile: Profile, arm: str) -> pd.DataFrame:
    """Rank correlation of predicted and actual effects: by person left out, and over all ("everybody").

    Columns: scores, left_out, n (pairs), rho, ci_low, ci_high (bootstrap over queries). A score that tells
    no query from another, such as a count, has no row.
    """
    found = []
    for name, table in effects(profile, arm).groupby("scores", sort=False):
        groups = [*table.groupby("left_out", sort=False), ("everybody", table)]
        for person, here in groups:
            # Each query has been left alone by as many retrainings as any other: rows of equal length.
            queries = [g[["predicted", "actual"]].to_numpy() for _, g in here.groupby("query", sort=False)]
            rho, low, high = _bootstrap(np.stack(queries), _spearman_of_pairs)
            found.append((name, person, len(here), rho, low, high))
    table = pd.DataFrame(found, columns=["scores", "left_out", "n", "rho", "ci_low", "ci_high"])
    return table.dropna(subset="rho").reset_index(drop=True)


def datamodel_scores(profile: Profile, arm: str) -> pd.DataFrame:
    """LDS by query: rank correlation over random halves of predicted and actual -NLL (Park et al. 2023).

    Columns: scores, own (a key of SELF), query, rho. "counted": over all halves, in which the query's own
    fact is or is not. "equal": within the halves that have it and within those that do not, averaged by
    their number; only groups of FEWEST halves count. NaN where scores do not tell halves apart.
    """
    without, _ = _retrained(profile, arm)
    halves = {k: set(ids) for k, ids in left_out(profile, arm).items() if k.startswith(HALF)}
    found = []
    for name, scores in matrices(profile, arm).items():
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
            found += [(name, "counted", query, _spearman(x, y)), (name, "equal", query, equal)]
    return pd.DataFrame(found, columns=["scores", "own", "query", "rho"])


def datamodel_means(profile: Profile, arm: str) -> pd.DataFrame:
    """Mean LDS over queries: scores, own, n (queries), rho, ci_low, ci_high (bootstrap over queries)."""
    found = []
    table = datamodel_scores(profile, arm).dropna(subset="rho")
    for (name, own), here in table.groupby(["scores", "own"], sort=False):
        found.append((name, own, len(here), *_bootstrap(here["rho"].to_numpy(), _mean)))
    return pd.DataFrame(found, columns=["scores", "own", "n", "rho", "ci_low", "ci_high"])


def datamodel_gains(profile: Profile, arm: str) -> pd.DataFrame:
    """How far TracIn's LDS exceeds what it must beat, own fact held equal, paired by query.

    Columns: scores, against (a key of BASELINES), n, gain, ci_low, ci_high (bootstrap over queries).
    """
    table = datamodel_scores(profile, arm)
    wide = table[table["own"] == "equal"].pivot_table("rho", "query", "scores").dropna()
    found = []
    for name, rival in product(TRACIN, BASELINES):
        gain = (wide[name] - wide[rival]).to_numpy()
        found.append((name, rival, len(gain), *_bootstrap(gain, _mean)))
    return pd.DataFrame(found, columns=["scores", "against", "n", "gain", "ci_low", "ci_high"])


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


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


def _bootstrap(
    units: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float, float]:
    """A statistic of units (along the first axis) and its 95 % percentile interval over resampled units."""
    drawn = np.random.default_rng(0).integers(len(units), size=(RESAMPLES, len(units)))
    resampled = statistic(units[drawn])
    low, high = (np.nan, np.nan) if np.isnan(resampled).all() else np.nanquantile(resampled, (0.025, 0.975))
    return float(statistic(units)), float(low), float(high)
