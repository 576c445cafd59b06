"""Contrasts over training seeds: one way to test them, the claims' own, and the verdicts on these."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from IPython.display import Markdown

from unlearnkit import claims, stats
from unlearnkit.errors import DataError
from unlearnkit.report.claim_values import bounds, claim_values, too_short
from unlearnkit.report.readings import path_table
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import config

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


def shown_below(table: pd.DataFrame) -> pd.Series:
    """Which rows are shown to be below 0: the interval is, and p after Holm is below ALPHA."""
    return (table["ci_high"] < 0) & (table["p_holm"] < claims.ALPHA)


def unfit(arm: Arm) -> str:
    """Why an arm can bear no verdict; "" where it can. The rewind was made on the first arm's model."""
    start = path_table(arm, methods=()).query("method == 'finetuned'")
    back = arm.observations("rewind").set_index("metric")["value"]
    missed = back["ledger_error"] - back["floor_error"] if len(back) else 0.0
    known, distance = start[["exact_memorisation", "oracle_distance"]].mean()
    return claims.unfit(known, distance, missed)


def warnings(run: Run) -> Markdown | None:
    """What stands above the verdicts where some arm can bear none, or they were not registered beforehand."""
    told = [f"> ⚠ **No verdict on {arm.name}:** {why}." for arm in run.arms if (why := unfit(arm))]
    told += [
        f"> ⚠ **No verdict on {', '.join(sorted(short))} on {arm.name}:** in most seeds the longest "
        "step tried does not forget."
        for arm in run.arms
        if (short := too_short(arm))
    ]
    if not is_registered(run):
        told.append(
            "> ⚠ **Exploratory:** these observations were made before the claims, readings and margins of "
            "this page were registered (`unlearnkit/claims/registered.py`), or under others."
        )
    model = run.manifest["parameters"]["model"]
    main = [(model, o, f"seeds_{o}") for o in config.OPTIMIZERS]
    arms = [*main, *(companion[:3] for companion in config.COMPANIONS)]
    told.append(interim(run, {f"{name} ({optimizer})": seeds for name, optimizer, seeds in arms}))
    return Markdown("\n>\n".join(filter(None, told))) if any(told) else None


def interim(run: Run, wanted: Mapping[str, str]) -> str:
    """What stands above a page where seeds are still lacking in a run that is a part of the profile `full`.

    `wanted` names the run's parameters that give numbers of seeds, by what is told of each.
    """
    if not run.manifest["run"].startswith(f"{config.REGISTERED}-"):
        return ""
    planned, given = config.PROFILES[config.REGISTERED], run.manifest["parameters"]
    waited = "; ".join(
        f"{name}, {given.get(seeds, 0)} of {planned[seeds]} are there"
        for name, seeds in wanted.items()
        if given.get(seeds, 0) < planned[seeds]
    )
    return waited and (
        f"> ⏳ **An interim look.** Registered training seeds still to run: {waited}. The rule makes no "
        "allowance for looking early; what decides are the verdicts on all of them."
    )


def is_registered(run: Run) -> bool:
    """Whether every cell of the run was made by code in which these very claims were registered."""
    return all(made.get("registered") == claims.digest() for made in run.manifest["machines"])


def verdicts(run: Run, ids: Iterable[str] = ()) -> list[dict]:
    """A row a claim and arm, of all claims or those named; see `claims.verdicts`. Holm over all of an arm."""
    registered = claims.with_margin(run.margin) if run.margin else claims.CLAIMS
    rows = [
        row
        for arm in run.arms
        for row in claims.verdicts(
            claim_values(arm), arm.name, registered, unfit(arm), too_short(arm), bounds(arm)
        )
    ]
    return [row for row in rows if not ids or row["id"] in ids]


def at_readings(run: Run, ids: Iterable[str] = ()) -> pd.DataFrame:
    """Every claim's contrast at each reading, a row a claim, arm and reading; only the first has a verdict.

    Columns: id, arm, reading (with its damage, in nats), n, mean, ci_low, ci_high (95 %, over seeds; NaN of
    one).
    """
    levels = sorted({run.damage, *config.DAMAGE_LEVELS})
    kinds = {"matched forgetting": (claims.PRIMARY, None)}
    kinds |= {f"{level:g} nats of damage": ("damage", level) for level in levels}
    kinds |= {"closest approach": ("closest", None)}
    rows = [
        {"id": claim, "arm": arm.name, "reading": name, **paired(values)}
        for arm in run.arms
        for name, (kind, level) in kinds.items()
        for claim, values in claim_values(arm, kind, level).items()
        if not ids or claim in ids
    ]
    return pd.DataFrame(rows).reindex(columns=["id", "arm", "reading", "n", "mean", "ci_low", "ci_high"])


def means(run: Run, claim: str, kind: str = claims.PRIMARY, level: float | None = None) -> pd.Series:
    """Mean contrast of one claim at a reading, by the names of the arms that have it; for guards."""
    found = {arm.name: claim_values(arm, kind, level).get(claim) for arm in run.arms}
    return pd.Series({name: v.mean() for name, v in found.items() if v is not None}, dtype=float)


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
