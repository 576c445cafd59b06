"""Chapter 07: tests over the facts of one trained model, as the paper has them, and over trainings."""

from dataclasses import asdict
from functools import cache

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS

from unlearnkit import stats
from unlearnkit.claims import ALPHA
from unlearnkit.errors import DataError
from unlearnkit.report.contrasts import TESTED, paired
from unlearnkit.report.oracles import oracle_nll
from unlearnkit.report.readings import by_setting, fact_paths
from unlearnkit.report.run import Arm
from unlearnkit.report.tables import frame
from unlearnkit.study.readings import at

FIRST, ALL = ("all", "first_epoch"), ("all", "all_epochs")
WRONG, RANDOM = ("all", "wrong_person"), ("all", "random_direction")
EMBEDDING, ADAM = ("embedding", "first_epoch"), ("all", "adam_replay")
# Updates that are held against the oracle one fact at a time, as (layers, method), and their names.
UPDATES = {
    FIRST: "first epoch",
    ALL: "all epochs",
    ADAM: "all epochs, AdamW's updates",
    EMBEDDING: "first epoch, embedding only",
    WRONG: "wrong person",
    RANDOM: "random direction",
}
# Contrasts of D_F: name -> (whose D_F, less whose D_F). Positive favours the second.
CONTRASTS = {
    "all epochs − first epoch": (ALL, FIRST),
    "wrong person − first epoch": (WRONG, FIRST),
    "random direction − first epoch": (RANDOM, FIRST),
    "all layers − embedding only": (FIRST, EMBEDDING),
}
MAIN_CONTRAST = next(iter(CONTRASTS))  # claim C1's


@cache
def fact_readings(arm: Arm) -> pd.DataFrame:
    """Each forget fact under each of UPDATES, where retain facts have first lost the agreed damage.

    Columns: seed, layers, method, example, nll, oracle (mean over the oracles of its world), distance
    (|nll - oracle|, nats). Interpolated in the step length fact by fact, as D_F is made, so that the mean
    distance of a seed is its D_F in `matched_damage`.
    """
    norms, found = by_setting(arm, "norm"), []
    for (seed, layers, method), path in fact_paths(arm).items():
        if (layers, method) in UPDATES:
            norm = norms.loc[seed, (layers, method)]
            aim = oracle_nll(arm, seed).mean(axis=1).reindex(path.columns)
            rows = pd.DataFrame({"example": path.columns, "oracle": aim.to_numpy()})
            rows = rows.assign(seed=seed, layers=layers, method=method)
            rows["nll"] = [at(path[fact], norm) for fact in path]
            rows["distance"] = (rows["nll"] - rows["oracle"]).abs()
            found.append(rows.dropna(subset="distance"))
    columns = ["seed", "layers", "method", "example", "nll", "oracle", "distance"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


@cache
def fact_contrasts(arm: Arm) -> pd.DataFrame:
    """D_F of one update minus that of another, fact by fact: contrast, seed, example, less, more, value."""
    keys = {"index": ["seed", "example"], "columns": ["layers", "method"]}
    wide = fact_readings(arm).pivot_table(**keys, values="distance")
    parts = [pd.DataFrame(columns=["contrast", "seed", "example", "less", "more", "value"])]
    for name, (more, less) in CONTRASTS.items():
        if more in wide and less in wide:
            both = pd.DataFrame({"less": wide[less], "more": wide[more]}).dropna().reset_index()
            parts.append(both.assign(contrast=name, value=both["more"] - both["less"]))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def by_seed(arm: Arm) -> pd.DataFrame:
    """The paper's kind of test of every contrast, in each trained model on its own: a row a seed.

    Columns: contrast, seed, n (facts), mean, those of TESTED; none corrected, since the question is what a
    reader of one model alone would have concluded.
    """
    groups = fact_contrasts(arm).groupby(["contrast", "seed"], sort=False)["value"]
    rows = [{"contrast": c, "seed": s, **paired(v)} for (c, s), v in groups]
    return frame(rows, "contrast", "seed", "n", "mean", *TESTED)


def over_seeds(arm: Arm) -> pd.DataFrame:
    """Every contrast with training seeds as replicates: indexed by it, n, mean, those of TESTED."""
    means = fact_contrasts(arm).groupby(["contrast", "seed"], sort=False)["value"].mean()
    rows = [{"contrast": c, **paired(v)} for c, v in means.groupby("contrast", sort=False)]
    return frame(rows, "contrast", "n", "mean", *TESTED).set_index("contrast")


def disagreement(arm: Arm) -> pd.DataFrame:
    """What `by_seed` would have told readers of one model each: a row a contrast.

    Columns: contrast, seeds, positive and negative (models whose own test has p < 0.05, by sign), missed
    (models whose 95 % interval over facts leaves out the mean over models).
    """
    rows = []
    for contrast, part in by_seed(arm).dropna(subset="p").groupby("contrast", sort=False):
        found, mean = part["p"] < ALPHA, part["mean"].mean()
        signs = [int((found & (side > 0)).sum()) for side in (part["mean"], -part["mean"])]
        missed = int(((part["ci_low"] > mean) | (part["ci_high"] < mean)).sum())
        rows.append((contrast, len(part), *signs, missed))
    return frame(rows, "contrast", "seeds", "positive", "negative", "missed")


def analyses(arm: Arm) -> pd.DataFrame:
    """MAIN_CONTRAST per fact by a mixed model, over seeds, over all facts with errors clustered by the person
    who is forgotten, and over all facts as if there were no seeds.

    Columns: analysis, n, mean, ci_low, ci_high, p; no line of an analysis that needs two seeds or persons.
    """
    facts, rows = fact_contrasts(arm).query("contrast == @MAIN_CONTRAST"), []
    long = facts.melt(["seed", "example"], ["less", "more"], "update", "distance")
    try:
        fitted = asdict(stats.mixed_model(long, "distance", "update", "example", "seed"))
        fitted |= {"mean": fitted["estimate"], "n": fitted["n"] // 2}
        rows.append({"analysis": "mixed model, facts within seeds", **fitted})
    except DataError:
        pass  # one seed, or no spread
    rows.append({"analysis": "t test over seeds", **paired(facts.groupby("seed")["value"].mean())})
    person = facts["seed"].map({setting.seed: setting.target for setting in arm.settings})
    if len(set(person)) > 1:
        rows.append(
            {"analysis": "facts, clustered by the person forgotten", **_clustered(facts["value"], person)}
        )
    rows.append({"analysis": "t test over all facts, seeds ignored", **paired(facts["value"])})
    return frame(rows, "analysis", "n", "mean", "ci_low", "ci_high", "p")


def _clustered(values: pd.Series, groups: pd.Series) -> dict[str, float]:
    """A mean with errors clustered by group (Liang and Zeger 1986), t with one degree less than groups."""
    told = {"groups": pd.factorize(groups)[0]}
    fitted = OLS(values.to_numpy(float), np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds=told, use_t=True
    )
    low, high = fitted.conf_int()[0]
    mean, p = fitted.params[0], fitted.pvalues[0]
    return {"n": len(values), "mean": mean, "ci_low": low, "ci_high": high, "p": p}
