"""From observations to the numbers that tables, figures and prose show. Reads only; imports no torch."""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study import cells, plan
from unlearnkit.study.readings import at, crossing

ADVANCED = "AdamW"
INFLUENCES = {
    "influence_activation": "activation-gradient product",
    "influence_gradient": "stored-now gradient product",
    "influence_curvature": "curvature along the gradient",
}


def observations(profile: Profile, stage: str) -> pd.DataFrame:
    """All rows of a stage's cells, over arms and seeds."""
    files = tuple(str(c.observations) for c in cells(profile) if c.stage == stage)
    return _read(files).copy()


@cache
def _read(files: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.concat([pd.read_csv(f, keep_default_na=False, na_values=["nan"]) for f in files])
    for column in ("value", "share", "norm", "alpha", "seconds", "epoch", "step"):
        if column in frame:
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame.reset_index(drop=True)


def costs(profile: Profile) -> pd.DataFrame:
    """Seconds and peak memory of every cell."""
    rows = [{"cell": c.title, **c.cost()} for c in cells(profile)]
    table = pd.DataFrame(rows)[["cell", "seconds", "peak_bytes"]]
    return table.assign(peak_gb=table.pop("peak_bytes") / 1e9)


def arm_names(profile: Profile) -> list[str]:
    """The run's arms, the headline first."""
    return [arm.name for arm in plan.arms(profile)]


def mean_over(frame: pd.DataFrame, metric: str, split: str, by: list[str]) -> pd.Series:
    """Mean of a metric over the examples of a split, a value per group."""
    rows = frame[(frame["metric"] == metric) & (frame["split"] == split)]
    return rows.groupby(by)["value"].mean()


def memorisation(profile: Profile) -> pd.DataFrame:
    """Per arm, seed and epoch: mean exact memorisation of the trained facts, and utility perplexity."""
    rows = observations(profile, "train")
    rows = rows[rows["epoch"].notna()]
    facts = rows[rows["metric"] == "exact_memorisation"]
    keys = ["arm", "seed", "epoch"]
    table = facts.groupby(keys)["value"].mean().rename("exact_memorisation").to_frame()
    table["perplexity"] = mean_over(rows, "perplexity", "utility", keys)
    start = table["perplexity"].groupby(level=["arm", "seed"]).transform("first")
    return table.assign(perplexity_change=table["perplexity"] / start - 1).reset_index()


def oracle_nll(profile: Profile, arm: str, split: str = "forget") -> pd.DataFrame:
    """NLL of each fact under each oracle seed: examples x seeds."""
    rows = observations(profile, "portraits")
    here = (rows["arm"] == arm) & (rows["method"] == "oracle") & (rows["metric"] == "nll")
    rows = rows[here & (rows["split"] == split)]
    return rows.pivot_table(index="example", columns="seed", values="value")


def oracle_distance(nll: pd.Series, oracles: pd.DataFrame) -> float:
    """D_F: mean over forget facts of |NLL_i - mean over oracle seeds of NLL_i| (field.md), in nats."""
    return float((nll - oracles.mean(axis=1)).abs().mean())


def oracle_floor(oracles: pd.DataFrame) -> float | None:
    """D_F of one oracle against the mean of the others, averaged; None with a single oracle."""
    if oracles.shape[1] < 2:
        return None
    return float(np.mean([oracle_distance(oracles[s], oracles.drop(columns=s)) for s in oracles]))


def path_table(profile: Profile, arm: str) -> pd.DataFrame:
    """Per seed, method and step: what a path figure draws.

    Columns: seed, method, share, norm, alpha, forget and retain NLL, retain damage, D_F, ROUGE-L recall of
    the forget facts, utility perplexity.
    """
    rows = observations(profile, "walk")
    rows = rows[rows["arm"] == arm]
    oracles = oracle_nll(profile, arm)
    found = []
    for seed, here in rows.groupby("seed"):
        forget_ids = set(here.loc[here["split"] == "forget", "example"])
        for (method, share), point in here.groupby(["method", "share"]):
            nll = point[point["metric"] == "nll"]
            forget = nll[nll["example"].isin(forget_ids)].set_index("example")["value"]
            retain = nll[~nll["example"].isin(forget_ids) & (nll["split"] != "utility")]["value"].mean()
            said = point[(point["metric"] == "rougeL_recall") & point["example"].isin(forget_ids)][
                "value"
            ].mean()
            utility = point[(point["metric"] == "perplexity") & (point["split"] == "utility")]["value"].mean()
            found.append(
                {
                    "seed": seed,
                    "method": method,
                    "share": share,
                    "norm": point["norm"].iloc[0],
                    "alpha": point["alpha"].iloc[0],
                    "forget_nll": forget.mean(),
                    "retain_nll": retain,
                    "oracle_distance": oracle_distance(forget, oracles),
                    "rougeL_recall": said,
                    "perplexity": utility,
                }
            )
    table = pd.DataFrame(found)
    start = table[table["method"] == "finetuned"].set_index("seed")["retain_nll"]
    return table.assign(damage=table["retain_nll"] - table["seed"].map(start))


def matched_damage(profile: Profile, arm: str, damage: float = plan.DAMAGE_NATS) -> pd.DataFrame:
    """Per seed and method, the reading at matched retain damage; `crossed` is False where it never is."""
    rows = observations(profile, "walk")
    rows = rows[rows["arm"] == arm]
    table = path_table(profile, arm)
    found = []
    for seed, here in rows.groupby("seed"):
        for method in sorted(set(here["method"]) - {"finetuned"}):
            norm, crossed = crossing(here, method, "all", damage)
            mine = table[(table["seed"] == seed) & table["method"].isin([method, "finetuned"])]
            mine = mine.set_index("norm").sort_index()
            values = {
                c: at(mine[c], norm)
                for c in ("forget_nll", "oracle_distance", "perplexity", "rougeL_recall", "share")
            }
            found.append({"seed": seed, "method": method, "norm": norm, "crossed": crossed, **values})
    return pd.DataFrame(found)


def influence_pairs(profile: Profile, arm: str, metric: str, method: str = "first_epoch") -> pd.DataFrame:
    """Influence of each forget fact before and after unlearning: seed, example, before, after."""
    rows = observations(profile, "portraits")
    rows = rows[(rows["arm"] == arm) & (rows["metric"] == metric) & (rows["split"] == "forget")]
    wide = rows[rows["method"].isin(["finetuned", method])].pivot_table(
        index=["seed", "example"], columns="method", values="value"
    )
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
        for unit, data in (("facts of seed 0", pairs[pairs["seed"] == 0]), ("training seeds", seeds)):
            row = {"score": label, "unit": unit, "n": len(data)}
            try:
                test = stats.paired_t(data["before"], data["after"])
                row |= {
                    "before": data["before"].mean(),
                    "after": data["after"].mean(),
                    "change": test.mean_diff,
                    "ci_low": test.ci_low,
                    "ci_high": test.ci_high,
                    "t": test.t,
                    "p": test.p,
                    "d_z": test.d_z,
                    "d_av": test.d_av,
                }
            except DataError:
                row |= {"before": data["before"].mean(), "after": data["after"].mean()} if len(data) else {}
            found.append(row)
    table = pd.DataFrame(found)
    if "p" in table:
        tested = table["p"].notna()
        for _, group in table[tested].groupby("unit"):
            table.loc[group.index, "p_holm"] = stats.holm(group["p"])
    return table


def headline(profile: Profile) -> dict[str, float | str | None]:
    """The numbers that the README and the overview print for the first arm."""
    arm = arm_names(profile)[0]
    known = memorisation(profile)
    known = known[(known["arm"] == arm) & (known["epoch"] == known["epoch"].max())]
    readings = matched_damage(profile, arm)
    distance = readings.pivot_table(index="seed", columns="method", values="oracle_distance")
    before = path_table(profile, arm)
    before = before[before["method"] == "finetuned"].set_index("seed")["oracle_distance"]
    return {
        "arm": arm,
        "seeds": len(distance),
        "memorisation": known["exact_memorisation"].mean(),
        "perplexity_change": known["perplexity_change"].mean(),
        "distance_before": before.mean(),
        "floor": oracle_floor(oracle_nll(profile, arm)),
        **{f"distance_{m}": distance[m].mean() for m in distance},
    }


def summary(profile: Profile) -> str:
    """One screen of Markdown: what was found so far, numbers from the run."""
    found = headline(profile)
    target = plan.arms(profile)[0].target
    floor = "" if found["floor"] is None else f", and {found['floor']:.2f} between one oracle and the others"
    lines = [
        f"**{found['arm']}**, {found['seeds']} training seeds, target: {target}. After fine-tuning, "
        f"{found['memorisation']:.0%} of the answer tokens are memorised, and encyclopedia perplexity has "
        f"changed by {found['perplexity_change']:+.0%}.",
        "",
        f"Distance to the retrained oracle on the forget facts (mean |difference of NLL|, nats), read where "
        f"retain facts lose {plan.DAMAGE_NATS} nats: it was {found['distance_before']:.2f} before unlearning"
        f"{floor}.",
        "",
        "| update | distance to the oracle |",
        "|---|---|",
    ]
    for method in ("first_epoch", "all_epochs", "wrong_person", "random_direction"):
        if f"distance_{method}" in found:
            lines.append(f"| {method.replace('_', ' ')} | {found[f'distance_{method}']:.2f} |")
    return "\n".join(lines)
