"""Tables of the influence notebook: scores by model, their tests and verdicts, and their validation."""

import pandas as pd

from unlearnkit.profiles import Profile
from unlearnkit.study import results
from unlearnkit.study.results import tracking, validation
from unlearnkit.tables.build import frame
from unlearnkit.tables.wording import bytes_of, duration, p_value

WORK = {
    "portraits": "close-ups, with influence",
    "alignment": "alignment of gradients",
    "tracin": "influence of all on all",
    "retrain": "retraining to validate influence",
}
NONE = float("nan")


def levels(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Means over seeds of every score (`tracking.levels` by arm) in the three models."""
    rows = [
        {
            "arm": arm,
            "score": score,
            "facts of": whose,
            **{place: _number(here[place].mean()) for place in tracking.PLACES},
            "falls in": f"{int((here['after'] < here['before']).sum())} of {len(here)}",
        }
        for arm, table in found.items()
        for (score, whose), here in table.groupby(["score", "whose"], sort=False)
    ]
    return frame(rows, "arm", "score", "facts of", *tracking.PLACES, "falls in")


def by_update(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """d_z and p of every score (`tracking.tests_by_update` by arm), an update a column."""
    rows = []
    for arm, table in found.items():
        for (score, unit), here in table.groupby(["score", "unit"], sort=False):
            row = {"arm": arm, "score": score, "replicates": unit, "n": int(here["n"].max())}
            sizes = here.set_index("method")[["d_z", "p_holm"]].dropna()
            for method, label in tracking.AFTER.items():
                has = method in sizes.index
                told = (
                    f"{sizes.loc[method, 'd_z']:+.2f} (p {p_value(sizes.loc[method, 'p_holm'])})"
                    if has
                    else "–"
                )
                row[label] = told
            rows.append(row)
    return frame(rows, "arm", "score", "replicates", "n", *tracking.AFTER.values())


def verdicts(rows: list[dict]) -> pd.DataFrame:
    """The verdicts on influence (of `results.verdicts`), as shares of the score before."""
    table = [
        {
            "claim": v["id"],
            "arm": v["arm"],
            "fall, share of the score before": _signed(v["estimate"]),
            "95 % interval": "–" if v["ci_low"] is None else _interval(v["ci_low"], v["ci_high"]),
            "p (Holm)": p_value(NONE if v["p_holm"] is None else v["p_holm"]),
            "seeds": v["n_seeds"],
            "verdict": v["verdict"],
        }
        for v in rows
    ]
    columns = ("claim", "arm", "fall, share of the score before", "95 % interval", "p (Holm)")
    return frame(table, *columns, "seeds", "verdict")


def specificity(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The target's change beside the control person's (`tracking.specificity` by arm)."""
    rows = []
    for arm, table in found.items():
        for r in table.to_dict("records"):
            has = r.get("p", NONE) == r.get("p", NONE)
            row = {"arm": arm, "score": r["score"], "seeds": r["n"]}
            row |= {"change, target": _signed(r["target"]), "change, control": _signed(r["control"])}
            row["difference"] = _signed(r["difference"])
            row["95 % interval"] = _interval(r["ci_low"], r["ci_high"]) if has and "p" in r else "–"
            rows.append(row | {"p (Holm)": p_value(r.get("p_holm", NONE))})
    changes = ("change, target", "change, control", "difference", "95 % interval")
    return frame(rows, "arm", "score", "seeds", *changes, "p (Holm)")


def leave_one_person_out(table: pd.DataFrame) -> pd.DataFrame:
    """`validation.leave_one_person_out`, a score a column."""
    names = validation.TRACIN | validation.BASELINES
    rows = []
    for (label, pairs), here in table.groupby(["left_out", "n"], sort=False):
        told = {names[r.scores]: _correlation(r) for r in here.itertuples()}
        rows.append({"left out": label, "pairs": pairs, **told})
    return pd.DataFrame(rows).fillna("–")


def datamodel(table: pd.DataFrame) -> pd.DataFrame:
    """`validation.datamodel_means`, a row a score."""
    names = validation.TRACIN | validation.BASELINES
    rows = []
    for scores, here in table.groupby("scores", sort=False):
        told = {validation.SELF[r.own]: _correlation(r) for r in here.itertuples()}
        rows.append({"score": names[scores], "queries": int(here["n"].max()), **told})
    return pd.DataFrame(rows).fillna("–")


def costs(profile: Profile) -> pd.DataFrame:
    """Seconds and peak memory of the cells that this notebook reads."""
    spent = results.costs(profile)
    spent = spent[spent["stage"].isin(WORK)]
    rows = [
        {
            "arm": arm,
            "work": WORK[stage],
            "cells": len(here),
            "time each": duration(here["seconds"].mean()),
            "peak memory": bytes_of(1e9 * here["peak_gb"].max()),
        }
        for (arm, stage), here in spent.groupby(["arm", "stage"], sort=False)
    ]
    return frame(rows, "arm", "work", "cells", "time each", "peak memory")


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3g}"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _interval(low: float, high: float) -> str:
    return f"[{low:.3g}, {high:.3g}]"


def _correlation(row) -> str:
    return f"{row.rho:+.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"
