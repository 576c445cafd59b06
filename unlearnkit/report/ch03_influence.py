"""Chapter 03: a person's influence before and after unlearning, and in a model that never met the person."""

from functools import cache
from itertools import product

import pandas as pd

from unlearnkit.report.claim_values import INFLUENCES, influence_pairs
from unlearnkit.report.contrasts import TESTED, paired, with_holm
from unlearnkit.report.figures import COLOURS
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import frame

UNITS = ("facts of seed 0", "training seeds")
SPLITS = {"forget": "target", "retain": "control person"}  # whose influence the close-ups measure
WHOSE = {"target": COLOURS["target"], "control person": COLOURS["wrong_person"]}
FORGOTTEN = "first_epoch_forgotten"  # the close-up where the forget facts' NLL is the oracles'
PLACES = {"before": "before", "after": "at 0.05 nats\nof damage", "forgotten": "forgotten as\nthe oracle"}
PLACES |= {"oracle": "oracle"}
AFTER = {"first_epoch": "first epoch", "all_epochs": "all epochs"}
AFTER |= {FORGOTTEN: "first epoch, forgotten as the oracle", "oracle": "oracle"}
STORED_NOW = INFLUENCES["influence_gradient"]
IN_ORACLE = (STORED_NOW, INFLUENCES["influence_activation"])  # curvature was not taken there
CURVATURE = "influence_curvature"
CLAIMS = ("C3a", "C3b", "C3c", "C3d")
METRICS = {INFLUENCES[metric]: metric for metric in INFLUENCES}


def paired_tests(arm: Arm, method: str = "first_epoch") -> pd.DataFrame:
    """The paper's paired t test (facts of seed 0 as replicates), then the one over training seeds.

    Columns: score, metric, unit, n, before, after, change, those of `contrasts.paired`, d_av (change over the
    mean of both standard deviations), p_holm (over the scores within a unit); NaN where a test needs more.
    """
    rows = []
    for metric, label in INFLUENCES.items():
        pairs = influence_pairs(arm, metric, method)
        seeds = pairs.groupby("seed")[["before", "after"]].mean()
        for unit, data in zip(UNITS, (pairs[pairs["seed"] == 0], seeds), strict=True):
            if len(data):
                before, after = data["before"], data["after"]
                found = paired(after, before)
                row = {"score": label, "metric": metric, "unit": unit, "change": found.pop("mean")}
                row |= {"before": before.mean(), "after": after.mean()}
                rows.append(row | found | {"d_av": row["change"] / (before.std() + after.std()) * 2})
    given = ["score", "metric", "unit", "n", "before", "after", "change", *TESTED, "d_av"]
    return with_holm(pd.DataFrame(rows).reindex(columns=given), "unit")


@cache
def levels(arm: Arm) -> pd.DataFrame:
    """Mean influence of the target's and of the control person's facts, a row a score, person and seed.

    Columns: score, whose (a value of SPLITS), seed, and PLACES: before, after, forgotten (FORGOTTEN), oracle;
    NaN where not measured (no curvature in the oracle), no row where before and after are not.
    """
    found = []
    for (metric, score), (split, whose) in product(INFLUENCES.items(), SPLITS.items()):
        means = influence_pairs(arm, metric, split=split).groupby("seed")[["before", "after"]].mean()
        for place, method in (("forgotten", FORGOTTEN), ("oracle", "oracle")):
            there = influence_pairs(arm, metric, method, split).groupby("seed")["after"].mean()
            means[place] = there.reindex(means.index)
        found.append(means.reset_index().assign(score=score, whose=whose))
    return pd.concat(found, ignore_index=True).reindex(columns=["score", "whose", "seed", *PLACES])


@cache
def moved(arm: Arm) -> pd.DataFrame:
    """How far the target's mean score lies above that before any unlearning: a row a score, place and seed.

    Columns: score (of IN_ORACLE), place (of PLACES but "before"), seed, value, in pooled standard deviations
    of the facts' scores before and in the oracle; no rows without an oracle.
    """
    found = []
    for score in IN_ORACLE:
        spread = influence_pairs(arm, METRICS[score], "oracle").groupby("seed")[["before", "after"]].var()
        unit = spread.mean(axis=1) ** 0.5
        here = levels(arm).query("score == @score and whose == 'target'").set_index("seed")
        for place in list(PLACES)[1:]:
            value = ((here[place] - here["before"]) / unit.reindex(here.index)).dropna()
            found.append(value.rename("value").reset_index().assign(score=score, place=place))
    return pd.concat(found, ignore_index=True)[["score", "place", "seed", "value"]]


def sides(run: Run) -> pd.DataFrame:
    """By score, where the oracle's lies: score, arms, arms_higher, seeds, seeds_higher (than before)."""
    rows = []
    for score in IN_ORACLE:
        tables = [t[(t["score"] == score) & (t["place"] == "oracle")] for t in map(moved, run.arms)]
        parts = [table["value"] for table in tables if len(table)]
        above = sum(int(v.mean() > 0) for v in parts), sum(int((v > 0).sum()) for v in parts)
        rows.append((score, len(parts), above[0], sum(map(len, parts)), above[1]))
    return frame(rows, "score", "arms", "arms_higher", "seeds", "seeds_higher")


def stops_short(arm: Arm) -> str:
    """In how many seeds the close-up FORGOTTEN is of a path that ends before it has forgotten, in words.

    It then stands where the path costs others most, and its forget facts are likelier than to the oracle; ""
    where every seed's path gets there.
    """
    read = reading(arm, "forgetting", None, "all", ("first_epoch",)).dropna(subset="oracle_distance")
    short = int((~read["reached"].astype(bool)).sum())
    return f"path ends before in {short} of {len(read)}" if short else ""


def curvature(run: Run) -> pd.DataFrame:
    """The curvature along the stored gradient, before and after the first epoch's replay: a row an arm.

    Columns: arm, facts and seeds (of how many), before and after (means), higher (facts where it rose).
    """
    rows = []
    for arm in run.arms:
        pairs = influence_pairs(arm, CURVATURE)
        if len(pairs):
            means, higher = pairs[["before", "after"]].mean(), int((pairs["after"] > pairs["before"]).sum())
            rows.append((arm.name, len(pairs), pairs["seed"].nunique(), *means, higher))
    return frame(rows, "arm", "facts", "seeds", "before", "after", "higher")


def specificity(arm: Arm) -> pd.DataFrame:
    """Change of the target's mean score minus that of the control person's, paired over training seeds.

    Columns: score, target and control (mean changes), n, difference, those of TESTED, p_holm (over scores).
    """
    table, found = levels(arm), []
    table = table.assign(change=table["after"] - table["before"])
    change = table.pivot_table(index=["score", "seed"], columns="whose", values="change")
    change = change.reindex(columns=list(SPLITS.values())).dropna()
    for score in (s for s in INFLUENCES.values() if s in change.index):
        mine, other = (change.loc[score, whose] for whose in SPLITS.values())
        found.append({"score": score, "target": mine.mean(), "control": other.mean(), **paired(mine, other)})
    columns = ["score", "target", "control", "n", "mean", *TESTED]
    return with_holm(pd.DataFrame(found, columns=columns)).rename(columns={"mean": "difference"})
