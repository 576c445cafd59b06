"""Influence tracked: before, after and in the oracle, whose it is, and how long the stored gradients are."""

from itertools import product

import pandas as pd

from unlearnkit.profiles import Profile
from unlearnkit.study.results.influence import INFLUENCES, influence_pairs, influence_tests
from unlearnkit.study.results.matched import paired, with_holm
from unlearnkit.study.results.observed import observations

SPLITS = {"forget": "target", "retain": "control person"}  # whose influence the close-ups measure
OVERLAPPING = "norms"  # every norm has another layer name too
NOW = "now"  # the present gradient of the forget set, at theta_T
PLACES = ("before", "after", "oracle")
AFTER = {"first_epoch": "first epoch", "all_epochs": "all epochs", "oracle": "oracle"}


def levels(profile: Profile, arm: str) -> pd.DataFrame:
    """Mean influence of the target's and of the control person's facts: what a slope chart draws.

    Columns: metric, score, whose (a value of SPLITS), seed, before, after, oracle; NaN where not measured
    (no curvature in the oracle), no row where before and after are not.
    """
    found = []
    for (metric, score), (split, whose) in product(INFLUENCES.items(), SPLITS.items()):
        pairs = influence_pairs(profile, arm, metric, split=split)
        means = pairs.groupby("seed")[["before", "after"]].mean()
        oracle = influence_pairs(profile, arm, metric, "oracle", split).groupby("seed")["after"].mean()
        means = means.assign(oracle=oracle.reindex(means.index)).reset_index()
        found.append(means.assign(metric=metric, score=score, whose=whose))
    columns = ["metric", "score", "whose", "seed", *PLACES]
    return pd.concat(found, ignore_index=True).reindex(columns=columns)


def target_means(levels: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The target's scores averaged over seeds, from `levels` by arm: arm, score, before, after, oracle."""
    table = pd.concat([t.assign(arm=arm) for arm, t in levels.items()])
    mine = table[table["whose"] == SPLITS["forget"]]
    return mine.groupby(["arm", "score"], sort=False)[list(PLACES)].mean().reset_index()


def specificity(profile: Profile, arm: str) -> pd.DataFrame:
    """Change of the target's mean score minus that of the control person's, paired over training seeds.

    Columns: score, target and control (mean changes), and those of `results.paired`, Holm over the scores.
    Scores without a control are left out; one seed has a difference and nothing else.
    """
    table = levels(profile, arm)
    change = table.assign(change=table["after"] - table["before"]).pivot_table(
        index=["score", "seed"], columns="whose", values="change"
    )
    change = change.reindex(columns=list(SPLITS.values())).dropna()
    found = []
    for score in (s for s in INFLUENCES.values() if s in change.index):
        mine, other = (change.loc[score, whose] for whose in SPLITS.values())
        found.append(paired(mine, {score: other}).assign(target=mine.mean(), control=other.mean()))
    result = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["against"])
    return with_holm(result).rename(columns={"against": "score"})


def gradient_norms(profile: Profile, arm: str) -> pd.DataFrame:
    """How long the forget set's summed gradient is, by epoch of its recording, and now (at theta_T).

    Columns: seed, vector ("epoch_1" ... "now"), norm, share (of epoch 1's). The two roles of a tied token
    matrix count as parameters of their own, so that the norm is over slots.
    """
    rows = observations(profile, "alignment", arm)
    own = (rows["metric"] == "gram") & (rows["a"] == rows["b"]) & (rows["layers"] != OVERLAPPING)
    rows = rows[own & (rows["a"].str.startswith("epoch_") | (rows["a"] == NOW))]
    squares = rows.groupby(["seed", "a"], sort=False)["value"].sum()
    table = squares.pow(0.5).rename("norm").rename_axis(["seed", "vector"]).reset_index()
    first = table[table["vector"] == "epoch_1"].set_index("seed")["norm"]
    return table.assign(share=table["norm"] / table["seed"].map(first))


def remaining(norms: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Shares of the first epoch's gradient, means over seeds, from `gradient_norms` by arm.

    Index: arm. Columns: last (epoch's sum) and now (at theta_T).
    """
    found = {}
    for arm, table in norms.items():
        wide = table.pivot_table("share", "seed", "vector", sort=False).mean()
        found[arm] = {"last": wide.drop(NOW).iloc[-1], NOW: wide[NOW]}
    return pd.DataFrame(found).T


def larger_t(tests: dict[str, pd.DataFrame], unit: str) -> tuple[int, int]:
    """How often the first epoch's |t| exceeds all epochs' over this unit: (count, comparisons)."""
    table = pd.concat([t.assign(arm=arm) for arm, t in tests.items()])
    wide = table[table["unit"] == unit].pivot_table("t", ["arm", "score"], "method")
    wide = wide.reindex(columns=["first_epoch", "all_epochs"]).dropna().abs()
    return int((wide["first_epoch"] > wide["all_epochs"]).sum()), len(wide)


def tests_by_update(profile: Profile, arm: str) -> pd.DataFrame:
    """`influence_tests` of each model that the scores were taken in, against the fine-tuned one.

    Columns: method (a key of AFTER), score, unit, n, change, t, d_z, p_holm; NaN where a test could not be
    made, no row where a score was not measured.
    """
    found = [influence_tests(profile, arm, method).assign(method=method) for method in AFTER]
    columns = ["method", "score", "unit", "n", "change", "t", "d_z", "p_holm"]
    return pd.concat(found, ignore_index=True).reindex(columns=columns)
