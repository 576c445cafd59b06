"""Influence scores before and after unlearning, tested twice: over facts, and over training seeds."""

import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study.results.observed import observations

INFLUENCES = {
    "influence_activation": "activation-gradient product",
    "influence_gradient": "stored-now gradient product",
    "influence_curvature": "curvature along the gradient",
}
UNITS = ("facts of seed 0", "training seeds")


def influence_pairs(
    profile: Profile, arm: str, metric: str, method: str = "first_epoch", split: str = "forget"
) -> pd.DataFrame:
    """Influence of each forget fact (or of another split) before and after: seed, example, before, after."""
    rows = observations(profile, "portraits", arm)
    if method == "oracle":
        rows = pd.concat([rows, observations(profile, "oracle", arm)])
    chosen = (rows["split"] == split) & (rows["metric"] == metric)
    rows = rows[chosen & rows["method"].isin(["finetuned", method])]
    wide = rows.pivot_table(index=["seed", "example"], columns="method", values="value")
    wide = wide.reindex(columns=["finetuned", method]).dropna()
    return wide.rename(columns={"finetuned": "before", method: "after"}).reset_index()


def influence_tests(profile: Profile, arm: str, method: str = "first_epoch") -> pd.DataFrame:
    """The paper's paired t test (facts of seed 0 as replicates), then the one over training seeds.

    Holm's correction runs over the scores within each unit of replication; a test that its data cannot
    carry (too few seeds, no variance) has no numbers.
    """
    found = []
    for metric, label in INFLUENCES.items():
        pairs = influence_pairs(profile, arm, metric, method)
        seeds = pairs.groupby("seed")[["before", "after"]].mean()
        for unit, data in zip(UNITS, (pairs[pairs["seed"] == 0], seeds), strict=True):
            if len(data):
                found.append({"score": label, "metric": metric, "unit": unit, **_test(data)})
    table = pd.DataFrame(found)
    if "p" in table:
        for _, group in table[table["p"].notna()].groupby("unit"):
            table.loc[group.index, "p_holm"] = stats.holm(group["p"])
    return table


def _test(data: pd.DataFrame) -> dict:
    """One row of numbers: means always, the test where the data can carry it."""
    row = {"n": len(data), "before": data["before"].mean(), "after": data["after"].mean()}
    row["change"] = row["after"] - row["before"]
    try:
        test = stats.paired_t(data["before"], data["after"])
    except DataError:
        return row
    return row | {k: getattr(test, k) for k in ("ci_low", "ci_high", "t", "p", "d_z", "d_av")}
