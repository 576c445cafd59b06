"""Contrasts over training seeds: one way to test them, the claims' own, and the verdicts on these."""

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import pandas as pd
from IPython.display import Markdown

from unlearnkit import claims, stats
from unlearnkit.errors import DataError
from unlearnkit.report.readings import (
    along,
    by_setting,
    damage_crossing,
    matched_damage,
    path_table,
    reading,
)
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.readings import at

INFLUENCES = {
    "influence_activation": "activation-gradient product",
    "influence_gradient": "stored-now gradient product",
    "influence_curvature": "curvature along the gradient",
}
TESTED = ("ci_low", "ci_high", "t", "p", "d_z", "g_z")


def paired(values: pd.Series, against: pd.Series | float = 0.0) -> dict[str, float]:
    """n, mean, 95 % interval, t, p, d_z, g_z of values minus others, paired; n and mean without a test.

    DataError where the two are of different seeds.
    """
    if isinstance(against, pd.Series) and set(against.index) != set(values.index):
        raise DataError("values of other seeds cannot be paired: give both sides the same ones")
    other = values * 0 + against
    row = {"n": len(values), "mean": (values - other).mean()}
    try:
        test = stats.paired_t(other, values)
    except DataError:
        return row  # one seed, or no variance
    return row | {k: getattr(test, k) for k in TESTED}


def contrast(reference: pd.Series, others: Mapping[object, pd.Series]) -> pd.DataFrame:
    """`reference` minus each of `others`, paired by seed, Holm over them all; a row each.

    Columns: against, n, difference, ci_low, ci_high, p, p_holm (NaN of one seed), wins (seeds where the
    reference is lower).
    """
    rows = []
    for name, other in others.items():
        difference = (reference - other).dropna()
        found = paired(reference[difference.index], other[difference.index])
        rows.append({"against": name, "difference": found.pop("mean"), **found})
        rows[-1]["wins"] = int((difference < 0).sum())
    columns = ["against", "n", "difference", "ci_low", "ci_high", "p", "wins"]
    return with_holm(pd.DataFrame(rows, columns=columns))


def family(pairs: Mapping[object, tuple[pd.Series, pd.Series]]) -> pd.DataFrame:
    """`contrast` of pairs without a common reference: the first minus the second of each, Holm over all."""
    found = [contrast(first, {label: second}) for label, (first, second) in pairs.items()]
    return with_holm(pd.concat(found or [contrast(pd.Series(dtype=float), {})], ignore_index=True))


def with_holm(table: pd.DataFrame, within: str = "") -> pd.DataFrame:
    """The rows as one family of tests, or one for each value of `within`: p_holm over all that have a p."""
    table = table.assign(p_holm=np.nan)
    tested_rows = table[table["p"].notna()]
    for _, family in tested_rows.groupby(within) if within else [("", tested_rows)]:
        if len(family):
            table.loc[family.index, "p_holm"] = stats.holm(family["p"].astype(float))
    return table


def updates(arm: Arm) -> pd.DataFrame:
    """D_F at matched damage: first epoch minus each other core update on all layers; `contrast`'s columns."""
    wide = matched_damage(arm).pivot_table(index="seed", columns="method", values="oracle_distance")
    if "first_epoch" not in wide:
        return contrast(pd.Series(dtype=float), {})
    return contrast(wide["first_epoch"], {m: wide[m] for m in wide if m != "first_epoch"})


def paid(arm: Arm, more: tuple[str, str], less: tuple[str, str], value: str = "damage") -> pd.DataFrame:
    """What one path pays beyond another for forgetting as the oracles have, each a (layers, method).

    Read at matched forgetting, a row a seed that walked both and has its oracle. Columns: seed, difference
    (`more` less `less`, nats; `value` may be utility_rise), order (its sign), censored (how many of the two
    never get there). A path that never gets there is worse than any that does: it counts as what it pays
    where it costs most, and as no less than the other, so that the difference is a bound, the truth being
    farther from 0; in `order`, which needs no size, it is the dearer one. Two that never do are equal.
    """
    table, rows = reading(arm, "forgetting").dropna(subset="oracle_distance"), []
    found = {key: path.set_index("seed") for key, path in table.groupby(["layers", "method"])}
    none = table.iloc[:0].set_index("seed")
    both = found.get(more, none).join(found.get(less, none).add_suffix("_less"), how="inner")
    for seed, row in both.iterrows():
        difference, there = row[value] - row[f"{value}_less"], (row["reached"], row["reached_less"])
        order = np.sign(difference)
        if not all(there):
            order = int(there[1]) - int(there[0])
            difference = order * max(order * difference, 0.0)
        rows.append((seed, difference, order, 2 - sum(there)))
    return pd.DataFrame(rows, columns=["seed", "difference", "order", "censored"])


def influence_pairs(
    arm: Arm, metric: str, method: str = "first_epoch", split: str = "forget"
) -> pd.DataFrame:
    """Influence of each forget fact (or of another split) before and after: seed, example, before, after."""
    rows = arm.observations("portraits")
    if method == "oracle":
        rows = pd.concat([rows, arm.observations("oracle")])
    chosen = (rows["split"] == split) & (rows["metric"] == metric)
    rows = rows[chosen & rows["method"].isin(["finetuned", method])]
    wide = rows.pivot_table(index=["seed", "example"], columns="method", values="value")
    wide = wide.reindex(columns=["finetuned", method]).dropna()
    return wide.rename(columns={"finetuned": "before", method: "after"}).reset_index()


@cache
def claim_values(arm: Arm) -> dict[str, pd.Series]:
    """By claim id: its contrast in every seed of the arm, as `claims.CLAIMS` defines it."""
    distance, found = by_setting(arm), {}
    first = distance["all", "first_epoch"]
    for claim, where in {"C1": ("all", "all_epochs"), "C1a": ("all", "wrong_person")}.items():
        if where in distance:
            found[claim] = distance[where] - first
    if ("embedding", "first_epoch") in distance:
        found["C2a"] = first - distance["embedding", "first_epoch"]
    if ("last2", "first_epoch") in distance:
        found["C2b"] = _effect_of_last_blocks(arm)
    for claim, score in (("C3a", "influence_activation"), ("C3b", "influence_gradient")):
        pairs = influence_pairs(arm, score).groupby("seed")[["before", "after"]].mean()
        found[claim] = (pairs["before"] - pairs["after"]) / pairs["before"].abs()
    path = path_table(arm, methods=("first_epoch",))
    found["C4"] = -path.groupby("seed")["rise"].min()
    if {("all", "fuzzy"), ("all", "iterative")} <= set(distance):
        found["C5"] = distance["all", "fuzzy"] - distance["all", "iterative"]
    return {claim: values.dropna() for claim, values in found.items()}


def _effect_of_last_blocks(arm: Arm) -> pd.Series:
    """Forget NLL after minus before a step on the last two blocks, as long as all layers' matched step."""
    table, found = path_table(arm, layers=None, methods=("first_epoch",)), {}
    for seed, here in table.groupby("seed"):
        norm, _ = damage_crossing(along(here, "first_epoch"), arm.run.damage)
        path = along(here, "first_epoch", "last2").set_index("norm")["forget_nll"].sort_index()
        found[seed] = at(path, norm) - path.iloc[0]
    return pd.Series(found)


def unfit(arm: Arm) -> str:
    """Why an arm can bear no verdict; "" where it can. The rewind was made on the first arm's model."""
    start = path_table(arm, methods=()).query("method == 'finetuned'")
    back = arm.observations("rewind").set_index("metric")["value"]
    missed = back["ledger_error"] - back["floor_error"] if len(back) else 0.0
    known, distance = start[["exact_memorisation", "oracle_distance"]].mean()
    return claims.unfit(known, distance, missed)


def warnings(run: Run) -> Markdown | None:
    """What stands above the verdicts where some arm can bear none."""
    told = [f"> ⚠ **No verdict on {arm.name}:** {why}." for arm in run.arms if (why := unfit(arm))]
    return Markdown("\n>\n".join(told)) if told else None


def verdicts(run: Run, ids: Iterable[str] = ()) -> list[dict]:
    """A row a claim and arm, of all claims or those named; see `claims.verdicts`. Holm over all of an arm."""
    registered = claims.with_margin(run.margin) if run.margin else claims.CLAIMS
    rows = [
        row
        for arm in run.arms
        for row in claims.verdicts(claim_values(arm), arm.name, registered, unfit(arm))
    ]
    return [row for row in rows if not ids or row["id"] in ids]


def holds(run: Run, ids: str | tuple[str, ...], arm: Arm, verdict: str) -> Markdown | None:
    """Nothing where the verdict on a claim, or on each of several, is as the text says; else a warning."""
    ids = (ids,) if isinstance(ids, str) else ids
    found = dict.fromkeys(ids, "not tested")
    found |= {r["id"]: r["verdict"] for r in verdicts(run, ids) if r["arm"] == arm.name}
    wrong = ", ".join(f"{i} is **{told}**" for i, told in found.items() if told != verdict)
    return unless(not wrong, f"{wrong} on {arm.name}, where the text says {verdict}")


def unless(so: bool, text: str) -> Markdown | None:
    """Nothing where what the text says is so in this run; else a warning to be shown beside the text."""
    return None if so else Markdown(f"> ⚠ **Not so here:** {text}.")
