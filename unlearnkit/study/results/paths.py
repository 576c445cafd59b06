"""Readings of the unlearning paths, with the retrained oracle as the target (definitions: field.md)."""

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.experiments.readings import at, crossing
from unlearnkit.profiles import Profile
from unlearnkit.study import plan
from unlearnkit.study.results.observed import arm_of, observations

READ = ("forget_nll", "oracle_distance", "oracle_gap", "perplexity_ratio", "rougeL_recall", "share")


def oracle_nll(profile: Profile, arm: str) -> pd.DataFrame:
    """NLL of each forget fact under each oracle seed: examples x seeds."""
    rows = observations(profile, "portraits", arm)
    rows = rows[(rows["method"] == "oracle") & (rows["metric"] == "nll") & (rows["split"] != "paraphrase")]
    rows = rows[rows["example"].isin(arm_of(profile, arm).forget)]
    return rows.pivot_table(index="example", columns="seed", values="value")


def oracle_distance(nll: pd.Series, oracles: pd.DataFrame) -> float:
    """D_F: mean over forget facts of |NLL_i - mean over oracle seeds of NLL_i|, in nats."""
    return float((nll - oracles.mean(axis=1)).abs().mean())


def oracle_floor(oracles: pd.DataFrame) -> float | None:
    """D_F of one oracle against the mean of the others, averaged; None with a single oracle."""
    if oracles.shape[1] < 2:
        return None
    return float(np.mean([oracle_distance(oracles[s], oracles.drop(columns=s)) for s in oracles]))


def oracle_points(profile: Profile, arm: str) -> pd.DataFrame:
    """The oracles in the columns of `path_table`, a row a seed.

    Their retain NLL counts the facts that a path scores. Their perplexity, measured on more text than a
    path's, is given as a ratio to the fine-tuned model's on that same text.
    """
    here = arm_of(profile, arm)
    rows = observations(profile, "portraits", arm)
    rows = rows[rows["split"] != "paraphrase"]
    retain = [e.id for e in here.retain()]
    bystanders = [i for i in retain if i not in here.control] or retain

    def mean(metric: str, ids: list[str], method: str = "oracle") -> pd.Series:
        chosen = (rows["metric"] == metric) & rows["example"].isin(ids) & (rows["method"] == method)
        return rows[chosen].groupby("seed")["value"].mean()

    perplexity = mean("perplexity", [""]) / mean("perplexity", [""], "finetuned")
    columns = {
        "forget_nll": mean("nll", list(here.forget)),
        "retain_nll": mean("nll", retain),
        "damage": mean("nll", retain) - mean("nll", retain, "finetuned"),
        "bystander_damage": mean("nll", bystanders) - mean("nll", bystanders, "finetuned"),
        "rougeL_recall": mean("rougeL_recall", list(here.forget)),
        "perplexity_ratio": perplexity,
    }
    return pd.DataFrame(columns)


def path_table(profile: Profile, arm: str) -> pd.DataFrame:
    """Per seed, method and step: what a path figure draws.

    Columns: seed, method, share, norm, alpha, alpha_lr (alpha as a multiple of the learning rate), forget
    and retain NLL, damage (retain NLL above the start's), bystander_damage (the same without the control
    person's facts, which the wrong-person arm attacks; with them where there are no others),
    oracle_distance (D_F), oracle_gap (forget NLL minus the oracles'), ROUGE-L recall of the forget facts,
    perplexity_ratio (utility, to the start's). The start is method "finetuned".
    """
    here = arm_of(profile, arm)
    rows = observations(profile, "walk", arm)
    oracles = oracle_nll(profile, arm)
    is_fact, forget = rows["example"] != "", rows["example"].isin(here.forget)
    retain = is_fact & ~forget
    bystanders = retain & ~rows["example"].isin(here.control)
    keys = ["seed", "method", "share"]

    def mean(metric: str, where: pd.Series) -> pd.Series:
        return rows[where & (rows["metric"] == metric)].groupby(keys)["value"].mean()

    facts = rows[forget & (rows["metric"] == "nll")].set_index("example").groupby(keys)["value"]
    table = (
        rows.groupby(keys)[["norm", "alpha"]]
        .first()
        .assign(
            forget_nll=mean("nll", forget),
            retain_nll=mean("nll", retain),
            bystander_nll=mean("nll", bystanders if bystanders.any() else retain),
            oracle_distance=pd.Series({k: oracle_distance(nll, oracles) for k, nll in facts}),
            rougeL_recall=mean("rougeL_recall", forget),
            perplexity=mean("perplexity", ~is_fact),
        )
    )
    table = table.reset_index()
    start = table[table["method"] == "finetuned"].set_index("seed")
    return table.assign(
        alpha_lr=table["alpha"] / here.recipe["lr"],
        oracle_gap=table["forget_nll"] - oracles.mean().mean(),
        damage=table["retain_nll"] - table["seed"].map(start["retain_nll"]),
        bystander_damage=table["bystander_nll"] - table["seed"].map(start["bystander_nll"]),
        perplexity_ratio=table["perplexity"] / table["seed"].map(start["perplexity"]),
    )


def along(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """One method's rows of a path table, the start included, in order of the step length."""
    return table[table["method"].isin([method, "finetuned"])].sort_values(["seed", "share"])


def methods(table: pd.DataFrame) -> list[str]:
    """The methods of a path table, in the plan's order."""
    present = set(table["method"])
    return [m for m in dict.fromkeys(m for m, *_ in plan.PATHS) if m in present]


def matched_damage(profile: Profile, arm: str, damage: float = plan.DAMAGE_NATS) -> pd.DataFrame:
    """Per seed and method, the reading at matched retain damage; `crossed` is False where it never is."""
    rows = observations(profile, "walk", arm)
    table = path_table(profile, arm)
    found = []
    for seed, here in rows.groupby("seed"):
        for method in methods(table):
            norm, crossed = crossing(here, method, "all", damage)
            mine = along(table[table["seed"] == seed], method).set_index("norm")
            values = {c: at(mine[c], norm) for c in READ}
            found.append({"seed": seed, "method": method, "norm": norm, "crossed": crossed, **values})
    return pd.DataFrame(found)


def contrasts(profile: Profile, arm: str, value: str = "oracle_distance") -> pd.DataFrame:
    """At matched damage, first epoch minus each other update, paired over training seeds, Holm-corrected.

    Columns: against, n, difference, ci_low, ci_high, p, p_holm, wins (seeds where the first epoch is
    lower). One seed has a difference and nothing else.
    """
    wide = matched_damage(profile, arm).pivot_table(index="seed", columns="method", values=value)
    found = []
    for other in (m for m in wide if m != "first_epoch" and "first_epoch" in wide):
        difference = wide["first_epoch"] - wide[other]
        row = {"against": other, "n": len(difference), "difference": difference.mean()}
        row["wins"] = int((difference < 0).sum())
        try:
            test = stats.paired_t(wide[other], wide["first_epoch"])
            row |= {"ci_low": test.ci_low, "ci_high": test.ci_high, "p": test.p}
        except DataError:
            pass  # one seed, or no variance: a difference without an interval
        found.append(row)
    table = pd.DataFrame(found)
    if "p" in table:
        tested = table["p"].notna()
        table.loc[tested, "p_holm"] = stats.holm(table.loc[tested, "p"])
    return table


def turning_points(profile: Profile, arm: str, method: str = "first_epoch") -> pd.DataFrame:
    """Per seed, three marks of one path: re-exposure, meeting the oracle, and the end.

    dip        lowest forget NLL minus the start's over the measured steps: below 0 is re-exposure
    meets      step length (share) where the forget NLL first reaches the oracles', interpolated; NaN if never
    damage_there, distance_there   retain damage and D_F at that step
    end_gap    forget NLL minus the oracles' at the longest step: above 0 is over-unlearning
    """
    table, found = path_table(profile, arm), []
    for seed, here in table.groupby("seed"):
        path = along(here, method)
        gap, share = path["oracle_gap"].to_numpy(), path["share"].to_numpy()
        row = {"seed": seed, "dip": min(gap[1:] - gap[0]), "end_gap": gap[-1], "meets": np.nan}
        if gap[0] < 0 and (above := np.flatnonzero(gap >= 0)).size:
            k = above[0]
            row["meets"] = share[k - 1] - gap[k - 1] / (gap[k] - gap[k - 1]) * (share[k] - share[k - 1])
            series = path.set_index("share")
            row |= {"damage_there": at(series["damage"], row["meets"])}
            row |= {"distance_there": at(series["oracle_distance"], row["meets"])}
        found.append(row)
    return pd.DataFrame(found).reindex(
        columns=["seed", "dip", "meets", "damage_there", "distance_there", "end_gap"]
    )
