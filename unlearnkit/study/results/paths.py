"""The unlearning paths as tables: what every step length did, with the oracle as the target."""

from functools import cache

import pandas as pd

from unlearnkit import profiles
from unlearnkit.experiments.readings import start
from unlearnkit.profiles import Profile
from unlearnkit.study.results.observed import arm_of, observations
from unlearnkit.study.results.oracles import oracle_nll

CORE = ("first_epoch", "all_epochs", "wrong_person", "random_direction")
KEYS = ["seed", "layers", "method", "share"]


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
    table = points(profile.name, arm)
    chosen = pd.Series(True, index=table.index)
    if layers is not None:
        chosen &= table["layers"] == layers
    if methods is not None:
        chosen &= table["method"].isin(methods)
    return table[chosen | (table["method"] == "finetuned")].reset_index(drop=True)


@cache
def points(name: str, arm: str) -> pd.DataFrame:
    """All of `path_table` of the run of that name; not to be changed."""
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


def along(table: pd.DataFrame, method: str, layers: str = "all") -> pd.DataFrame:
    """One path's rows of a path table, the start included, in order of the step length."""
    here = (table["method"] == method) & (table["layers"] == layers)
    return table[here | (table["method"] == "finetuned")].sort_values(["seed", "share"])


def methods(table: pd.DataFrame) -> list[str]:
    """The methods of a path table, the core ones first."""
    present = [m for m in dict.fromkeys(table["method"]) if m != "finetuned"]
    return [*(m for m in CORE if m in present), *(m for m in present if m not in CORE)]
