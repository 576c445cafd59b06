"""Requests compared (claim C5): fuzzy, exact and iterative removal on their paths."""

import numpy as np
import pandas as pd

from unlearnkit.experiments.readings import at, start
from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.learning import closeups
from unlearnkit.study.results.matched import matched_damage, paired, with_holm
from unlearnkit.study.results.observed import arm_of, observations
from unlearnkit.study.results.paths import along, path_table
from unlearnkit.study.results.stopping import levels

COMPARED = ("first_epoch", "fuzzy", "iterative", "iterative_reversed", "wrong_person", "random_direction")
PAIRS = (  # the claim's contrast first; then each against the exact request, the order, and the controls
    ("fuzzy", "iterative"),
    ("fuzzy", "first_epoch"),
    ("iterative", "first_epoch"),
    ("iterative", "iterative_reversed"),
    *((one, control) for one in ("fuzzy", "iterative") for control in COMPARED[4:]),
)
ROUNDING = 5  # decimals of a nat
GROUPS = ("neighbours in the fuzzy request", "neighbours outside of it", "other retain facts")


def contrasts(profile: Profile, arm: str) -> pd.DataFrame:
    """D_F at matched damage for each of PAIRS that this arm walks, first minus second, paired over seeds.

    Columns: of, against, and those of `results.contrasts`; Holm over all rows that can be tested. Differences
    below ROUNDING are none: two orders of the same sum differ by float32 rounding.
    """
    readings = matched_damage(profile, arm, methods=COMPARED)
    wide = readings.pivot_table(index="seed", columns="method", values="oracle_distance").round(ROUNDING)
    found = [paired(wide[a], {b: wide[b]}).assign(of=a) for a, b in PAIRS if a in wide and b in wide]
    if not found:
        return pd.DataFrame(columns=["of", "against", "n"])
    return with_holm(pd.concat(found, ignore_index=True))


def endings(profile: Profile, arm: str) -> pd.DataFrame:
    """Where each path gets to, a row a seed and method.

    nearest, nearest_norm, nearest_damage   lowest D_F over the measured steps, and what it takes
    late   D_F at a retain damage of grid.STOP_DAMAGE, where the fuzzy path and the controls are left
    end_share, end_distance, end_gap, end_damage   at its longest step; the gap is signed, above 0 is past
    """
    table, found = path_table(profile, arm, methods=COMPARED), []
    late = matched_damage(profile, arm, grid.STOP_DAMAGE, methods=COMPARED)
    late = late.set_index(["seed", "method"])["oracle_distance"]
    for (seed, method), _ in table[table["method"] != "finetuned"].groupby(["seed", "method"], sort=False):
        path = along(table[table["seed"] == seed], method)
        near, end = path.loc[path["oracle_distance"].idxmin()], path.iloc[-1]
        row = {"seed": seed, "method": method, "nearest": near["oracle_distance"]}
        row |= {f"nearest_{c}": near[c] for c in ("norm", "damage")}
        row |= {"late": late[seed, method], "end_share": end["share"], "end_distance": end["oracle_distance"]}
        found.append(row | {"end_gap": end["oracle_gap"], "end_damage": end["damage"]})
    return pd.DataFrame(found)


def matched_norms(profile: Profile, arm: str) -> pd.Series:
    """By seed and method, the step length at matched retain damage."""
    return matched_damage(profile, arm, methods=COMPARED).set_index(["seed", "method"])["norm"]


def facts_at(profile: Profile, arm: str, norms: pd.Series) -> pd.DataFrame:
    """Every fact that the paths score, at a step length for each seed and method (the index of `norms`).

    Columns: seed, method, example, split, fuzzy (whether the fuzzy request names it), nll, rise (of the NLL
    above theta_T's).
    """
    trained, walked = observations(profile, "train", arm), observations(profile, "paths", arm)
    walked = walked[(walked["layers"] == "all") & (walked["metric"] == "nll") & (walked["example"] != "")]
    found = []
    for setting in arm_of(profile, arm).settings:
        ids = {*setting.forget, *(e.id for e in setting.retain())}
        begin = start(trained[trained["seed"] == setting.seed], ids)
        begin = begin[(begin["metric"] == "nll") & (begin["example"] != "")].set_index("example")["value"]
        rows = walked[(walked["seed"] == setting.seed) & walked["example"].isin(ids)]
        for method, norm in norms.loc[setting.seed].items():
            wide = rows[rows["method"] == method].pivot_table(index="norm", columns="example", values="value")
            wide = pd.concat([begin.to_frame(0.0).T, wide])
            nll = {i: at(wide[i].dropna(), norm) for i in wide}
            found += [(setting.seed, method, i, v, v - begin[i]) for i, v in nll.items()]
    return _labelled(profile, arm, pd.DataFrame(found, columns=["seed", "method", "example", "nll", "rise"]))


def neighbours_close_up(profile: Profile, arm: str) -> pd.DataFrame:
    """The near-neighbours in the close-ups (exact requests at matched damage, and the oracle): as `facts_at`.

    Close-ups score every fact, paths only some, and there are none of the fuzzy and iterative paths.
    """
    rows = closeups(profile, arm)
    rows = rows[(rows["metric"] == "nll") & (rows["split"] == "neighbour")]
    wide = rows.pivot_table(index=["seed", "example"], columns="method", values="value")
    wide = wide.reindex(columns=["finetuned", "first_epoch", "all_epochs", "oracle"])
    told = wide.reset_index().melt(["seed", "example", "finetuned"], value_name="nll", var_name="method")
    told = told.assign(rise=told["nll"] - told.pop("finetuned")).dropna(subset="rise")
    return _labelled(profile, arm, told)


def _labelled(profile: Profile, arm: str, table: pd.DataFrame) -> pd.DataFrame:
    """With the split of each fact, and whether the fuzzy request names it."""
    settings = arm_of(profile, arm).settings
    split = {(s.seed, e.id): e.split for s in settings for e in s.facts}
    named = {(s.seed, i) for s in settings for i in s.fuzzy}
    keys = list(zip(table["seed"], table["example"], strict=True))
    return table.assign(split=[split[k] for k in keys], fuzzy=[k in named for k in keys])


def rises(facts: pd.DataFrame) -> pd.DataFrame:
    """Mean rise of each of GROUPS by seed and method: seed, method, group, n, rise; forget facts left out."""
    others = facts[facts["split"] != "forget"]
    near = np.where(others["fuzzy"], GROUPS[0], GROUPS[1])
    group = np.where(others["split"] == "neighbour", near, GROUPS[2])
    table = others.assign(group=group).groupby(["seed", "method", "group"], sort=False)["rise"]
    return table.agg(n="size", rise="mean").reset_index()


def rise_contrasts(risen: pd.DataFrame) -> pd.DataFrame:
    """Fuzzy minus exact request: rise of the neighbours, paired over seeds, Holm; `against` is their group.

    The mean rise of all scored retain facts is the same by construction, at matched damage.
    """
    found = []
    for group, rows in risen[risen["group"].isin(GROUPS[:2])].groupby("group"):
        wide = rows.pivot_table(index="seed", columns="method", values="rise")
        if {"fuzzy", "first_epoch"} <= set(wide):
            found.append(paired(wide["fuzzy"], {group: wide["first_epoch"]}))
    if not found:
        return pd.DataFrame(columns=["against", "n"])
    return with_holm(pd.concat(found, ignore_index=True))


def left_known(profile: Profile, arm: str, facts: pd.DataFrame) -> pd.DataFrame:
    """Share of forget facts still likelier than never-trained ones under theta_T: seed, method, known.

    Empty without never-trained facts.
    """
    level = levels(profile, arm)["nll"]
    mine = facts[(facts["split"] == "forget") & facts["seed"].isin(level.index)]
    known = mine["nll"] < mine["seed"].map(level)
    return known.groupby([mine["seed"], mine["method"]], sort=False).mean().rename("known").reset_index()


def rounds(profile: Profile, arm: str) -> pd.DataFrame:
    """The iterative paths round by round: seed, method, round, share, removed, asked, forget_nll, damage.

    `removed` counts the facts that were still known, and lost a step; `asked` how many the request has.
    """
    walked = observations(profile, "paths", arm)
    walked = walked[walked["method"].isin(["iterative", "iterative_reversed"])]
    columns = ["seed", "method", "round", "share", "removed", "asked", "forget_nll", "damage"]
    if walked.empty or "removed" not in walked:
        return pd.DataFrame(columns=columns)
    keys = ["seed", "method", "share"]
    count = pd.to_numeric(walked["removed"], errors="coerce").groupby([walked[k] for k in keys]).first()
    table = path_table(profile, arm, methods=("iterative", "iterative_reversed"))
    table = table.join(count, on=keys).dropna(subset="removed").sort_values(keys)
    asked = {s.seed: len(s.forget) for s in arm_of(profile, arm).settings}
    table = table.assign(round=table.groupby(["seed", "method"]).cumcount() + 1)
    return table.assign(asked=table["seed"].map(asked))[columns].reset_index(drop=True)


def order_effect(rounds: pd.DataFrame) -> pd.DataFrame:
    """Size of the difference of forget NLL between the two orders, from `rounds`: a row a seed and round.

    equal     where both orders have so far removed every fact in every round; NaN elsewhere
    unequal   the others
    """
    wide = rounds.pivot_table(index=["seed", "round"], columns="method", values=["forget_nll", "removed"])
    if ("forget_nll", "iterative_reversed") not in wide:
        return pd.DataFrame(columns=["equal", "unequal"])
    wide = wide.dropna()
    asked = rounds.groupby("seed")["asked"].first()
    whole = (wide["removed"].min(axis=1) == wide.index.get_level_values("seed").map(asked)).astype(int)
    apart = (wide["forget_nll"]["iterative"] - wide["forget_nll"]["iterative_reversed"]).abs()
    so_far = whole.groupby("seed").cummin().astype(bool)
    return pd.DataFrame({"equal": apart.where(so_far), "unequal": apart.where(~so_far)})
