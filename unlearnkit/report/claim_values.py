"""Each claim's contrast in every seed, as `claims.registered` defines it, at each of the three readings."""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import claims
from unlearnkit.report.oracles import oracle_nll
from unlearnkit.report.readings import along, fact_paths, path_table, reading
from unlearnkit.report.run import Arm
from unlearnkit.study.readings import at

Path = tuple[str, str]  # layers, method

FIRST: Path = ("all", "first_epoch")
INFLUENCES = {
    "influence_activation": "activation-gradient product",
    "influence_gradient": "stored-now gradient product",
    "influence_curvature": "curvature along the gradient",
}
# By claim: the path that should do worse, and the one that the paper, or common sense, prefers.
PAIRS: dict[str, tuple[Path, Path]] = {
    "C1": (("all", "all_epochs"), FIRST),
    "C1a": (("all", "wrong_person"), FIRST),
    "C1b": (FIRST, ("all", "adam_replay")),
    "C2a": (FIRST, ("embedding", "first_epoch")),
    "C5": (("all", "fuzzy"), ("all", "iterative")),
}
LAST: Path = ("last2", "first_epoch")
OTHERS = {"blocks": ("other2", "first_epoch"), "coordinates": ("all", "random_last2")}  # as many as the last
SCORES = {"C3a": "influence_activation", "C3b": "influence_gradient"}
TO_ORACLE = {"C3c": "influence_activation", "C3d": "influence_gradient"}
BY_FIRST = ("C0", "C2b", "C2c", *SCORES, *TO_ORACLE, "C4")  # read where the first epoch has forgotten
# The close-up that stands at each reading; none was taken where the path is closest.
CLOSE_UP = {"forgetting": "first_epoch_forgotten", "damage": "first_epoch"}


@cache
def claim_values(arm: Arm, kind: str = claims.PRIMARY, level: float | None = None) -> dict[str, pd.Series]:
    """By claim id: its contrast in every seed of the arm at a reading (`readings.reading`), by seed.

    Claims whose paths the arm does not walk, or whose close-up it has not, are left out.
    """
    found = {claim: compared(arm, claim, kind, level) for claim in PAIRS}
    first = one(arm, FIRST, kind, level)
    found["C0"] = cost(arm, FIRST) if kind == "forgetting" else first["oracle_distance"]
    rises = {path: rise(arm, path, first["norm"]) for path in (LAST, OTHERS["blocks"])}
    found["C2b"], found["C2c"] = rises[LAST], rises[OTHERS["blocks"]] - rises[LAST]
    if (close_up := CLOSE_UP.get(kind)) and not (kind == "damage" and level not in (None, arm.run.damage)):
        found |= {claim: fall(arm, score, close_up) for claim, score in SCORES.items()}
        found |= {claim: nearer(arm, score, close_up) for claim, score in TO_ORACLE.items()}
    if kind == claims.PRIMARY:  # of the whole path, wherever it is read
        found |= whole_path(arm)
    found = {claim: values.dropna() for claim, values in found.items()}
    return {claim.id: found[claim.id] for claim in claims.CLAIMS if len(found.get(claim.id, ()))}


@cache
def bounds(arm: Arm) -> tuple[dict[str, pd.Series], ...]:
    """`claim_values` at the primary reading twice more: the least and the most that PAIRS can be.

    A path that ended before it had forgotten pays no less than what it had cost by then, and no more than
    the whole, which it is charged in `claim_values`.
    """
    found, ends = claim_values(arm), ((False, True), (True, False))
    pairs = [claim for claim in PAIRS if claim in found]
    return tuple(
        found | {c: compared(arm, c, claims.PRIMARY, charged=e).dropna() for c in pairs} for e in ends
    )


@cache
def too_short(arm: Arm) -> frozenset[str]:
    """The claims none of whose paths has forgotten as the oracles, in most seeds, by where it ends."""
    told, there = dict.fromkeys(BY_FIRST, (FIRST,)) | PAIRS, claim_values(arm)
    return frozenset(c for c, paths in told.items() if c in there and not _gets_there(arm, paths))


def _gets_there(arm: Arm, paths: tuple[Path, ...]) -> bool:
    """Whether one of these paths or more gets there, in half of the seeds or more; so if none was walked."""
    reached = pd.DataFrame({path: one(arm, path, "forgetting")["reached"] for path in paths})
    return not len(reached) or reached.eq(True).any(axis=1).mean() >= 0.5


def one(arm: Arm, path: Path, kind: str, level: float | None = None) -> pd.DataFrame:
    """A path's reading, a row a seed that has its oracles, indexed by seed."""
    table = reading(arm, kind, level, path[0], (path[1],)).dropna(subset="oracle_distance")
    return table.set_index("seed")


def compared(
    arm: Arm, claim: str, kind: str, level: float | None = None, charged: tuple[bool, bool] = (True, True)
) -> pd.Series:
    """One of PAIRS: what the first path pays beyond the second, or how much farther from the oracle it is.

    `charged` is `cost`'s for each.
    """
    more, less = PAIRS[claim]
    if kind == "forgetting":
        value = "bystander_damage" if claim == "C1a" else "damage"  # the wrong person is a bystander to C1
        pays = (cost(arm, path, value, all_) for path, all_ in zip((more, less), charged, strict=True))
        return next(pays) - next(pays)
    return one(arm, more, kind, level)["oracle_distance"] - one(arm, less, kind, level)["oracle_distance"]


def cost(arm: Arm, path: Path, value: str = "damage", charged: bool = True) -> pd.Series:
    """What a path pays for forgetting as the oracles have, by seed, in nats; `value` may be bystander_damage.

    No more than it costs to throw the fine-tuning away, which forgets the person too: so much, too, where the
    path never gets there, if that is `charged`, else the most that it had cost by its end.
    """
    table = one(arm, path, "forgetting").reset_index()
    return priced(arm, table, value, charged).set_axis(table["seed"])


def priced(arm: Arm, table: pd.DataFrame, value: str = "damage", charged: bool = True) -> pd.Series:
    """`cost` of every row of a reading at matched forgetting."""
    all_taught = table["seed"].map(thrown_away(arm)[value])
    there = table["reached"].astype(bool)
    return (table[value].where(there, np.inf) if charged else table[value]).clip(upper=all_taught)


@cache
def thrown_away(arm: Arm) -> pd.DataFrame:
    """What the facts that a path scores lose by going back to the pretrained model, in nats, by seed.

    Columns: damage, bystander_damage.
    """
    rows = pd.concat([arm.observations(stage) for stage in ("train", "base")])
    rows, found = rows[rows["metric"] == "nll"], {}
    epoch = pd.to_numeric(rows["epoch"], errors="coerce")
    rows = rows.assign(epoch=epoch)
    for setting in arm.settings:
        retain = [e.id for e in setting.retain()]
        near = [i for i in retain if i not in setting.control] or retain
        here = rows[rows["seed"] == setting.seed].pivot_table("value", "example", "epoch")
        lost = here[here.columns.min()] - here[here.columns.max()]
        found[setting.seed] = {"damage": lost[retain].mean(), "bystander_damage": lost[near].mean()}
    return pd.DataFrame.from_dict(found, orient="index")


def rise(arm: Arm, path: Path, norms: pd.Series) -> pd.Series:
    """Change of the forget facts' mean NLL by a step of a given length (by seed) along a path."""
    found, paths = {}, fact_paths(arm)
    for seed, norm in norms.items():
        if (facts := paths.get((seed, *path))) is not None:
            curve = facts.mean(axis=1)
            found[seed] = at(curve, norm) - curve.iloc[0]
    return pd.Series(found, dtype=float)


def influence_pairs(
    arm: Arm, metric: str, method: str = "first_epoch", split: str = "forget"
) -> pd.DataFrame:
    """Influence of each forget fact (or of another split) before and after: seed, example, before, after.

    `method` names a close-up, or "oracle": then after is the mean over the seed's oracles.
    """
    rows = arm.observations("portraits")
    if method == "oracle":
        rows = pd.concat([rows, arm.observations("oracle")])
    chosen = (rows["split"] == split) & (rows["metric"] == metric)
    rows = rows[chosen & rows["method"].isin(["finetuned", method])]
    wide = rows.pivot_table(index=["seed", "example"], columns="method", values="value")
    wide = wide.reindex(columns=["finetuned", method]).dropna()
    return wide.rename(columns={"finetuned": "before", method: "after"}).reset_index()


def fall(arm: Arm, score: str, close_up: str) -> pd.Series:
    """By seed, mean influence before less after, in pooled standard deviations of the facts' scores."""
    pairs = influence_pairs(arm, score, close_up).groupby("seed")[["before", "after"]]
    mean = pairs.mean()
    return (mean["before"] - mean["after"]) / _pooled(pairs.var())


def nearer(arm: Arm, score: str, close_up: str) -> pd.Series:
    """By seed, how far mean influence is from the oracle's before less after, in pooled deviations."""
    pairs, oracle = (
        influence_pairs(arm, score, m).groupby("seed")[["before", "after"]] for m in (close_up, "oracle")
    )
    mean, goal = pairs.mean(), oracle.mean()["after"]
    away = (mean.sub(goal, axis=0)).abs()
    return (away["before"] - away["after"]) / _pooled(oracle.var())


def _pooled(variances: pd.DataFrame) -> pd.Series:
    return np.sqrt(variances.mean(axis=1)).replace(0.0, np.nan)


def whole_path(arm: Arm) -> dict[str, pd.Series]:
    """C4 and C4a: how much farther from the oracle the first epoch's path gets, and how much better known."""
    path = along(path_table(arm, methods=(FIRST[1],)), FIRST[1])
    start = path[path["method"] == "finetuned"].set_index("seed")["oracle_distance"]
    seeds = path.groupby("seed")
    has_oracle = [seed for seed in start.index if len(oracle_nll(arm, seed))]
    return {
        "C4": (seeds["oracle_distance"].max() - start)[has_oracle],
        "C4a": -seeds["rise"].min(),
    }
