"""Calibration of the ascent (claim C4): re-exposure, and gradients taken afresh against stored ones.

All readings are linear between two measured steps of a path, the start being its first.
"""

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import CLAIMS
from unlearnkit.profiles import Profile
from unlearnkit.study.results import alignment
from unlearnkit.study.results.matched import matched_damage, paired, with_holm
from unlearnkit.study.results.observed import arm_names, observations
from unlearnkit.study.results.paths import along, path_table

# (layers, method): the paths of this chapter, those of the claim first and the controls last.
PATHS = (
    ("all", "first_epoch"),
    ("all", "all_epochs"),
    ("all", "recomputed"),
    ("embedding", "first_epoch"),
    ("all", "wrong_person"),
    ("all", "random_direction"),
)
REFERENCE = PATHS[0]
MARGIN = next(c.margin for c in CLAIMS if c.id == "C4")  # nats; a shallower dip would not matter


def paths_of(profile: Profile, arm: str) -> pd.DataFrame:
    """The path table of every selection and method, with `rise`: forget NLL minus the start's, in nats.

    The start's ROUGE, which fine-tuning does not note, is that of the close-ups.
    """
    table = path_table(profile, arm, layers=None, methods=None)
    begin = table["method"] == "finetuned"
    start = table[begin].set_index("seed")["forget_nll"]
    rows = observations(profile, "portraits", arm)
    said = (rows["method"] == "finetuned") & (rows["metric"] == "rougeL_recall") & (rows["split"] == "forget")
    rouge = table["seed"].map(rows[said].groupby("seed")["value"].mean())
    table["rougeL_recall"] = table["rougeL_recall"].where(~begin, rouge)
    return table.assign(rise=table["forget_nll"] - table["seed"].map(start))


def exposure(profile: Profile, arm: str) -> pd.DataFrame:
    """Where the forget facts become likelier than at the start: a row a seed, selection and method.

    On all layers, and on the embedding for the first epoch.
    dip             lowest `rise` over the measured steps, at most 0
    deepest         step (share) of that; NaN without a dip
    since, until    where the rise is negative, interpolated; `until` is inf if it still is at the end
    first_step, first_rise   the shortest measured step, and the rise there
    """
    table, found = paths_of(profile, arm), []
    table = table[(table["layers"] == "all") | is_path(table, *PATHS[3])]
    walked = table[table["method"] != "finetuned"].groupby(["seed", "layers", "method"], sort=False)
    for (seed, layers, method), _ in walked:
        path = along(table[table["seed"] == seed], method, layers)
        share, rise = path["share"].to_numpy(), path["rise"].to_numpy()
        row = {"seed": seed, "layers": layers, "method": method, "dip": min(0.0, rise.min())}
        row |= {"deepest": share[rise.argmin()] if rise.min() < 0 else np.nan}
        found.append(row | _region(share, rise) | {"first_step": share[1], "first_rise": rise[1]})
    return pd.DataFrame(found)


def _region(share: np.ndarray, rise: np.ndarray) -> dict[str, float]:
    """The first and the last place where a path that starts at 0 is below it."""
    below = np.flatnonzero(rise < 0)
    if not below.size:
        return {"since": np.nan, "until": np.nan}

    def zero(k: int) -> float:
        """Between steps k and k + 1."""
        return share[k] - rise[k] / (rise[k + 1] - rise[k]) * (share[k + 1] - share[k])

    first, last = below[0], below[-1]
    return {"since": zero(first - 1), "until": zero(last) if last + 1 < len(rise) else np.inf}


def dips(table: pd.DataFrame) -> pd.DataFrame:
    """`exposure` over seeds: a row a selection and method, in the order of PATHS, then the rest.

    Columns: layers, method, n, mean, ci_low, ci_high (of the dip; NaN from one seed), dipped, mattered (seeds
    with any dip, and with one of at least the claim's margin).
    """
    found = []
    for (layers, method), rows in table.groupby(["layers", "method"], sort=False):
        row = {"layers": layers, "method": method, "n": len(rows), "mean": rows["dip"].mean()}
        if len(rows) > 1:
            interval = stats.mean_ci(rows["dip"])
            row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
        row |= {"dipped": int((rows["dip"] < 0).sum()), "mattered": int((rows["dip"] <= -MARGIN).sum())}
        found.append(row)
    order = {where: k for k, where in enumerate(PATHS)}
    found.sort(key=lambda r: order.get((r["layers"], r["method"]), len(order)))
    columns = ["layers", "method", "n", "mean", "ci_low", "ci_high", "dipped", "mattered"]
    return pd.DataFrame(found).reindex(columns=columns)


def slopes(profile: Profile, arm: str) -> pd.DataFrame:
    """Which way the forget loss starts along a stored direction on all layers: a row a method.

    Columns: method, n, mean (cosine with today's forget gradient, over seeds), falling (seeds where it is
    below 0: there the loss starts by falling). Finer than any step, but silent on what comes after the start.
    """
    table = alignment.vectors(profile, arm)
    table = table[(table["layers"] == "all") & table["vector"].str.match("epoch_|all_epochs|wrong_person")]
    method = table["vector"].replace({"epoch_1": "first_epoch"}).rename("method")
    found = table.groupby(method, sort=False)["with_now"]
    return found.agg(n="size", mean="mean", falling=lambda v: int((v < 0).sum())).reset_index()


def epochs_alone(profile: Profile) -> pd.DataFrame:
    """Every epoch's gradients alone, in the first arm that walks them: a row an epoch; empty without such.

    Columns: arm, epoch, n (seeds), step (share: the shortest that all measure), rise (mean there), dip
    (mean), dipped, mattered (seeds, as in `dips`), cosine, falling (as in `slopes`, over the arm's seeds).
    """
    columns = ["arm", "epoch", "n", "step", "rise", "dip", "dipped", "mattered", "cosine", "falling"]
    for arm in arm_names(profile):
        exposed, table = exposure(profile, arm), paths_of(profile, arm)
        exposed, table = (t[t["layers"] == "all"] for t in (exposed, table))
        seeds = set(exposed.loc[exposed["method"] == "epoch_2", "seed"])
        if not seeds:
            continue
        one = r"first_epoch|epoch_\d+"
        mine = exposed[exposed["method"].str.fullmatch(one) & exposed["seed"].isin(seeds)]
        step = mine["first_step"].max()
        there = table[(table["share"] == step) & table["seed"].isin(seeds)].groupby("method")["rise"].mean()
        found = dips(mine).rename(columns={"mean": "dip"}).set_index("method")
        starts = slopes(profile, arm).set_index("method").rename(columns={"mean": "cosine"})
        found = found.join(there).join(starts[["cosine", "falling"]]).reset_index()
        epoch = found["method"].replace("first_epoch", "epoch_1").str.removeprefix("epoch_").astype(int)
        found = found.assign(arm=arm, epoch=epoch, step=step).sort_values("epoch")
        return found[columns].reset_index(drop=True)
    return pd.DataFrame(columns=columns)


def durations(profile: Profile, arm: str) -> pd.DataFrame:
    """Fresh against stale gradients after the same way: a row a seed and application of fresh gradients.

    duration k (1 for the first application), distance (norm as a share of fine-tuning's), and for each of
    rise, damage and oracle_distance the value of the fresh path and of the first epoch's line at that norm.
    """
    table, found = paths_of(profile, arm), []
    values = ["rise", "damage", "oracle_distance"]
    for seed, here in table.groupby("seed"):
        fresh, stale = (along(here, m).set_index("norm")[values] for m in ("recomputed", "first_epoch"))
        moved = (
            here.loc[is_path(here, *REFERENCE), "norm"].max()
            / here.loc[is_path(here, *REFERENCE), "share"].max()
        )
        for k, (norm, row) in enumerate(fresh.iloc[1:].iterrows(), start=1):
            told = {"seed": seed, "duration": k, "distance": norm / moved}
            for c in values:
                told |= {f"fresh_{c}": row[c], f"stale_{c}": np.interp(norm, stale.index, stale[c])}
            found.append(told)
    columns = [f"{kind}_{c}" for c in values for kind in ("fresh", "stale")]
    return pd.DataFrame(found, columns=["seed", "duration", "distance", *columns])


def duration_contrasts(table: pd.DataFrame, value: str = "rise") -> pd.DataFrame:
    """Fresh minus stale at equal distance, by application, paired over seeds; Holm over the applications.

    Columns as for `results.contrasts`, with the application's number in `against`.
    """
    found = []
    for k, rows in table.groupby("duration"):
        rows = rows.set_index("seed")
        found.append(paired(rows[f"fresh_{value}"], {k: rows[f"stale_{value}"]}))
    if not found:
        return pd.DataFrame(columns=["against", "n"])
    return with_holm(pd.concat(found, ignore_index=True))


def at_equal_damage(profile: Profile, arm: str) -> pd.DataFrame:
    """D_F at matched damage, the first epoch's stale line minus each other of PATHS, paired, Holm.

    `against` is the pair (layers, method); other columns as for `results.contrasts`.
    """
    readings = matched_damage(profile, arm, layers=None, methods=None)
    wide = readings.pivot_table(index="seed", columns=["layers", "method"], values="oracle_distance")
    others = {where: wide[where] for where in PATHS[1:] if where in wide}
    return paired(wide[REFERENCE], others) if others else pd.DataFrame(columns=["against", "n"])


def is_path(table: pd.DataFrame, layers: str, method: str) -> pd.Series:
    """Which rows of a path table are of this path, the start not included."""
    return (table["layers"] == layers) & (table["method"] == method)
