"""Readings of the unlearning paths, with the retrained oracle as the target (definitions: field.md)."""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import profiles, stats
from unlearnkit.errors import DataError
from unlearnkit.experiments.readings import at, start
from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.observed import arm_of, observations

READ = ("forget_nll", "oracle_distance", "oracle_gap", "perplexity_ratio", "rougeL_recall", "share")
CORE = ("first_epoch", "all_epochs", "wrong_person", "random_direction")
KEYS = ["seed", "layers", "method", "share"]


def oracle_nll(profile: Profile, arm: str) -> pd.DataFrame:
    """NLL of each forget fact under the oracle of each seed: examples x seeds, of the seed's target only."""
    rows = observations(profile, "oracle", arm)
    rows = rows[(rows["metric"] == "nll") & (rows["split"] == "forget")]
    return rows.pivot_table(index="example", columns="seed", values="value")


def oracle_distance(nll: pd.Series, oracles: pd.DataFrame) -> float:
    """D_F: mean over forget facts of |NLL_i - mean over oracle seeds of NLL_i|, in nats.

    The oracles are all those without the facts of `nll`, whatever their order of training.
    """
    return float((nll - oracles.reindex(nll.index).mean(axis=1)).abs().mean())


def oracle_floor(oracles: pd.DataFrame) -> float | None:
    """D_F of one oracle against the mean of the others without the same target; None where there are none."""
    found = []
    for seed in oracles:
        own = oracles[seed].dropna()
        others = oracles.drop(columns=seed).reindex(own.index).dropna(axis=1)
        if others.shape[1]:
            found.append(oracle_distance(own, others))
    return float(np.mean(found)) if found else None


def oracle_points(profile: Profile, arm: str) -> pd.DataFrame:
    """The oracles in the columns of `path_table`, a row a seed.

    Their retain NLL counts the facts that a path scores. Their perplexity, measured on more text than a
    path's, is given as a ratio to the fine-tuned model's on that same text.
    """
    tuned = observations(profile, "portraits", arm)
    rows = {
        "oracle": observations(profile, "oracle", arm),
        "finetuned": tuned[tuned["method"] == "finetuned"],
    }
    found = []
    for setting in arm_of(profile, arm).settings:
        retain = [e.id for e in setting.retain()]
        sets = {
            "forget": list(setting.forget),
            "retain": retain,
            "bystander": [i for i in retain if i not in setting.control] or retain,
        }

        def mean(method: str, ids: list[str], metric: str = "nll", seed: int = setting.seed) -> float:
            here = rows[method]
            here = here[(here["seed"] == seed) & (here["metric"] == metric) & here["example"].isin(ids)]
            return here.loc[here["split"] != "paraphrase", "value"].mean()

        found.append(
            {
                "seed": setting.seed,
                "forget_nll": mean("oracle", sets["forget"]),
                "retain_nll": mean("oracle", sets["retain"]),
                "damage": mean("oracle", sets["retain"]) - mean("finetuned", sets["retain"]),
                "bystander_damage": mean("oracle", sets["bystander"]) - mean("finetuned", sets["bystander"]),
                "rougeL_recall": mean("oracle", sets["forget"], "rougeL_recall"),
                "perplexity_ratio": mean("oracle", [""], "perplexity")
                / mean("finetuned", [""], "perplexity"),
            }
        )
    return pd.DataFrame(found).set_index("seed")


def path_table(
    profile: Profile, arm: str, layers: str | None = "all", methods: tuple[str, ...] | None = CORE
) -> pd.DataFrame:
    """Per seed, layer selection, method and step: what a path figure draws; None asks for every one.

    Columns: seed, layers, method, share, norm, alpha, alpha_lr (alpha as a multiple of the learning rate),
    forget and retain NLL, damage (retain NLL above the start's), bystander_damage (the same without the
    control person's facts, which the wrong-person arm attacks; with them where there are no others),
    oracle_distance (D_F), oracle_gap (forget NLL minus the oracles'), exact memorisation and ROUGE-L recall
    of the forget facts, perplexity_ratio (utility, to the start's); NaN where a path did not measure it. The
    start is method "finetuned" on "all".
    """
    table = _points(profile.name, arm)
    chosen = pd.Series(True, index=table.index)
    if layers is not None:
        chosen &= table["layers"] == layers
    if methods is not None:
        chosen &= table["method"].isin(methods)
    return table[chosen | (table["method"] == "finetuned")].reset_index(drop=True)


@cache
def _points(name: str, arm: str) -> pd.DataFrame:
    profile = profiles.get(name)
    here = arm_of(profile, arm)
    oracles = oracle_nll(profile, arm)
    trained, walked = observations(profile, "train", arm), observations(profile, "paths", arm)
    said = observations(profile, "portraits", arm)  # training measures no ROUGE: the close-up of theta_T does
    said = said[(said["method"] == "finetuned") & said["metric"].str.startswith("rouge")]
    said = said.assign(share=0.0)
    parts = []
    for setting in here.settings:
        retain = [e.id for e in setting.retain()]
        begin = start(trained[trained["seed"] == setting.seed], {*setting.forget, *retain})
        rows = pd.concat([begin, *(part[part["seed"] == setting.seed] for part in (said, walked))])
        forget, kept = rows["example"].isin(setting.forget), rows["example"].isin(retain)
        near = kept & ~rows["example"].isin(setting.control)
        parts.append(_of_seed(rows, forget, kept, near if near.any() else kept, oracles))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(alpha_lr=table["alpha"] / here.recipe["lr"])


def _of_seed(
    rows: pd.DataFrame, forget: pd.Series, retain: pd.Series, bystanders: pd.Series, oracles: pd.DataFrame
) -> pd.DataFrame:
    """One seed's part of a path table."""

    def mean(metric: str, where: pd.Series) -> pd.Series:
        return rows[where & (rows["metric"] == metric)].groupby(KEYS)["value"].mean()

    nll = rows[forget & (rows["metric"] == "nll")]
    target = nll["example"].map(oracles.mean(axis=1))
    distance = (nll["value"] - target).abs().groupby([nll[k] for k in KEYS]).mean()
    table = rows.groupby(KEYS)[["norm", "alpha"]].first()
    table = table.assign(
        forget_nll=mean("nll", forget),
        retain_nll=mean("nll", retain),
        bystander_nll=mean("nll", bystanders),
        exact_memorisation=mean("exact_memorisation", forget),
        oracle_distance=distance,
        rougeL_recall=mean("rougeL_recall", forget),
        perplexity=mean("perplexity", ~(rows["example"] != "")),
    ).reset_index()
    begin = table[table["method"] == "finetuned"].iloc[0]
    return table.assign(
        oracle_gap=table["forget_nll"] - target.mean(),
        damage=table["retain_nll"] - begin["retain_nll"],
        bystander_damage=table["bystander_nll"] - begin["bystander_nll"],
        perplexity_ratio=table["perplexity"] / begin["perplexity"],
    )


@cache
def fact_paths(name: str, arm: str) -> dict[tuple, pd.DataFrame]:
    """NLL of the forget facts by (seed, layers, method): step lengths x facts, the start included."""
    profile = profiles.get(name)
    trained, walked = observations(profile, "train", arm), observations(profile, "paths", arm)
    walked, found = walked[walked["metric"] == "nll"], {}
    for setting in arm_of(profile, arm).settings:
        begin = start(trained[trained["seed"] == setting.seed], setting.forget)
        begin = begin[begin["metric"] == "nll"]
        mine = walked[(walked["seed"] == setting.seed) & walked["example"].isin(setting.forget)]
        for (layers, method), steps in mine.groupby(["layers", "method"]):
            path = pd.concat([begin, steps]).pivot_table(index="norm", columns="example", values="value")
            found[setting.seed, layers, method] = path.sort_index()
    return found


def distance_at(profile: Profile, arm: str, where: tuple, norm: float) -> float:
    """D_F of the path `where` (seed, layers, method) at a step length, each fact interpolated by itself.

    Near the oracle D_F itself cannot be interpolated: from facts short of it on one side to facts past it on
    the other, its mean absolute distance stays large where each fact's distance goes through zero.
    """
    path = fact_paths(profile.name, arm)[where]
    nll = pd.Series({fact: at(path[fact].dropna(), norm) for fact in path})
    return oracle_distance(nll, oracle_nll(profile, arm))


def along(table: pd.DataFrame, method: str, layers: str = "all") -> pd.DataFrame:
    """One path's rows of a path table, the start included, in order of the step length."""
    here = (table["method"] == method) & (table["layers"] == layers)
    return table[here | (table["method"] == "finetuned")].sort_values(["seed", "share"])


def methods(table: pd.DataFrame) -> list[str]:
    """The methods of a path table, the core ones first."""
    present = [m for m in dict.fromkeys(table["method"]) if m != "finetuned"]
    return [*(m for m in CORE if m in present), *(m for m in present if m not in CORE)]


def crossing(path: pd.DataFrame, damage: float) -> tuple[float, bool]:
    """(step length, whether it crosses) where one seed's path first costs the retain facts `damage` nats."""
    path = path.sort_values("norm")
    x, y = path["norm"].to_numpy(), path["damage"].to_numpy()
    above = np.flatnonzero(y >= damage)
    if not len(above):
        return float(x[-1]), False
    k = int(above[0])
    return float(x[k - 1] + (damage - y[k - 1]) / (y[k] - y[k - 1]) * (x[k] - x[k - 1])), True


def matched_damage(
    profile: Profile,
    arm: str,
    damage: float = grid.DAMAGE_NATS,
    layers: str | None = "all",
    methods: tuple[str, ...] | None = CORE,
) -> pd.DataFrame:
    """Per seed, layers and method, the reading at matched retain damage.

    Columns: seed, layers, method, norm, crossed (False where the path never costs so much, and is read at its
    longest step), and those of READ.
    """
    table = _readings(profile.name, arm, damage)
    if layers is not None:
        table = table[table["layers"] == layers]
    if methods is not None:
        table = table[table["method"].isin(methods)]
    return table.reset_index(drop=True)


@cache
def _readings(name: str, arm: str, damage: float) -> pd.DataFrame:
    table = _points(name, arm)
    begins = {seed: rows for seed, rows in table[table["method"] == "finetuned"].groupby("seed")}
    found = []
    for (seed, layers, method), rows in table[table["method"] != "finetuned"].groupby(KEYS[:3], sort=False):
        mine = pd.concat([begins[seed], rows])
        norm, crossed = crossing(mine, damage)
        row = {"seed": seed, "layers": layers, "method": method, "norm": norm, "crossed": crossed}
        found.append(row | read(mine, norm))
    return pd.DataFrame(found, columns=["seed", "layers", "method", "norm", "crossed", *READ])


def read(path: pd.DataFrame, norm: float) -> dict[str, float]:
    """One seed's path at a step length: the columns of READ, interpolated; NaN where not measured.

    Perplexity is so in its logarithm, the NLL that it stands for.
    """
    path = path.set_index("norm").sort_index()
    path = path.assign(perplexity_ratio=np.log(path["perplexity_ratio"]))
    found = {c: at(path[c].dropna(), norm) if path[c].notna().sum() > 1 else np.nan for c in READ}
    return found | {"perplexity_ratio": float(np.exp(found["perplexity_ratio"]))}


def contrasts(profile: Profile, arm: str, value: str = "oracle_distance") -> pd.DataFrame:
    """At matched damage, first epoch minus each other update, paired over training seeds, Holm-corrected.

    Columns: against, n, difference, ci_low, ci_high, p, p_holm, wins (seeds where the first epoch is
    lower). One seed has a difference and nothing else.
    """
    wide = matched_damage(profile, arm).pivot_table(index="seed", columns="method", values=value)
    others = {other: wide[other] for other in wide if other != "first_epoch" and "first_epoch" in wide}
    return paired(wide["first_epoch"], others) if others else pd.DataFrame(columns=["against"])


def paired(reference: pd.Series, others: dict[str, pd.Series]) -> pd.DataFrame:
    """`reference` minus each of `others`, paired by seed; columns as for `contrasts`."""
    found = []
    for name, other in others.items():
        difference = (reference - other).dropna()
        row = {"against": name, "n": len(difference), "difference": difference.mean()}
        row["wins"] = int((difference < 0).sum())
        try:
            test = stats.paired_t(other[difference.index], reference[difference.index])
            row |= {"ci_low": test.ci_low, "ci_high": test.ci_high, "p": test.p}
        except DataError:
            pass  # one seed, or no variance: a difference without an interval
        found.append(row)
    return with_holm(pd.DataFrame(found))


def with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as one family of tests: p_holm, anew where there is one, over all that have a p."""
    if "p" in table and table["p"].notna().any():
        tested = table["p"].notna()
        table.loc[tested, "p_holm"] = stats.holm(table.loc[tested, "p"])
    return table


def turning_points(
    profile: Profile, arm: str, method: str = "first_epoch", layers: str = "all"
) -> pd.DataFrame:
    """Per seed, three marks of one path: re-exposure, meeting the oracle, and the end.

    dip        lowest forget NLL minus the start's over the measured steps: below 0 is re-exposure
    meets      step length (share) where the forget NLL first reaches the oracles', interpolated; NaN if never
    damage_there, distance_there   retain damage and D_F at that step
    end_gap    forget NLL minus the oracles' at the longest step: above 0 is over-unlearning
    """
    table, found = path_table(profile, arm, layers, (method,)), []
    for seed, here in table.groupby("seed"):
        path = along(here, method, layers)
        if len(path) < 2:
            continue  # this seed does not walk it
        gap, share = path["oracle_gap"].to_numpy(), path["share"].to_numpy()
        row = {"seed": seed, "dip": min(gap[1:] - gap[0]), "end_gap": gap[-1], "meets": np.nan}
        if gap[0] < 0 and (above := np.flatnonzero(gap >= 0)).size:
            k = above[0]
            row["meets"] = share[k - 1] - gap[k - 1] / (gap[k] - gap[k - 1]) * (share[k] - share[k - 1])
            series = path.set_index("share")
            row |= {"damage_there": at(series["damage"], row["meets"])}
            norm = at(series["norm"], row["meets"])
            row |= {"distance_there": distance_at(profile, arm, (seed, layers, method), norm)}
        found.append(row)
    return pd.DataFrame(found).reindex(
        columns=["seed", "dip", "meets", "damage_there", "distance_there", "end_gap"]
    )
