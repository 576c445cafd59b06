"""Tables of the calibration chapter: dips, stopping rules, steps, fresh against stored gradients."""

import pandas as pd

from unlearnkit.study import results
from unlearnkit.study.results.calibration import PATHS
from unlearnkit.study.results.stopping import RULES
from unlearnkit.tables.build import frame, mean_and_range
from unlearnkit.tables.wording import count, p_value


def name(layers: str, method: str) -> str:
    """What to call a path: the update, and the layers where they are not all."""
    epoch = method.removeprefix("epoch_")
    called = f"epoch {epoch}'s gradients" if epoch != method else results.NAMES[method]
    return called if layers == "all" else f"{called}, {layers} only"


def dips(table: pd.DataFrame, exposure: pd.DataFrame, slopes: pd.DataFrame) -> pd.DataFrame:
    """`calibration.dips` for people, with each path's shortest step, and how it starts (`slopes`)."""
    first = exposure.groupby(["layers", "method"])["first_step"].min()
    start = {("all", row.method): f"{row.mean:+.2f}" for row in slopes.itertuples()}
    return pd.DataFrame(
        {
            "path": name(row.layers, row.method),
            "lowest change of forget NLL": _dip(row),
            "seeds with a dip": f"{row.dipped} of {row.n}",
            "by the margin": f"{row.mattered} of {row.n}",
            "shortest step": f"{first[row.layers, row.method]:.2%}",
            "cosine at the start": start.get((row.layers, row.method), "–"),
        }
        for row in table.itertuples()
    )


def _dip(row) -> str:
    """Mean and interval; "none" where no seed has any."""
    if not row.dipped:
        return "none"
    interval = f" [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" if row.ci_low == row.ci_low else ""
    return f"{row.mean:+.3f}{interval}"


def stops(table: pd.DataFrame) -> pd.DataFrame:
    """`stopping.stops` over seeds: a row a path and rule, means with intervals."""
    found = []
    for layers, method in PATHS:
        mine = table[(table["layers"] == layers) & (table["method"] == method)]
        for rule in RULES:
            rows = mine[mine["rule"] == rule]
            if len(rows):
                found.append(_stop(name(layers, method), RULES[rule].label, rows))
    return pd.DataFrame(found)


def _stop(path: str, rule: str, rows: pd.DataFrame) -> dict:
    has = rows["perplexity_ratio"].notna().any()
    return {
        "path": path,
        "stop at": rule,
        "reached in": f"{int(rows['met'].sum())} of {len(rows)}",
        "step (%)": mean_and_range(100 * rows["share"]),
        "retain damage": mean_and_range(rows["damage"]),
        "perplexity, × start": mean_and_range(rows["perplexity_ratio"]) if has else "–",
        "distance to the oracle": mean_and_range(rows["oracle_distance"]),
        "past the oracle by": mean_and_range(rows["oracle_gap"]),
    }


def contrasts(table: pd.DataFrame, names: dict, digits: int = 3) -> pd.DataFrame:
    """Paired differences for people; `names` gives the words for what is in `against`."""
    found = []
    for row in table.to_dict("records"):
        has = row.get("p") == row.get("p", float("nan"))
        interval = f"[{row['ci_low']:+.{digits}f}, {row['ci_high']:+.{digits}f}]" if has else "–"
        found.append(
            {
                "contrast": names[row["against"]],
                "difference": f"{row['difference']:+.{digits}f}",
                "95 % interval": interval,
                "p": p_value(row.get("p", float("nan"))),
                "p (Holm)": p_value(row.get("p_holm", float("nan"))),
                "lower in": f"{row['wins']} of {count(row['n'], 'seed')}",
            }
        )
    columns = ["contrast", "difference", "95 % interval", "p", "p (Holm)", "lower in"]
    return pd.DataFrame(found, columns=columns)


def steps(path: pd.DataFrame) -> pd.DataFrame:
    """One method's path at every step: likelihood, memorisation and ROUGE of the forget facts; damage."""
    columns = {
        "rise": "change of forget NLL",
        "exact_memorisation": "exact memorisation",
        "rougeL_recall": "ROUGE-L recall",
        "damage": "retain damage",
    }
    found = []
    for share, rows in path.groupby("share"):
        row = {"step": f"{share:.2%}"}
        row |= {label: mean_and_range(rows[c]) for c, label in columns.items() if rows[c].notna().any()}
        found.append(row)
    return pd.DataFrame(found).fillna("–")


def epochs(table: pd.DataFrame) -> pd.DataFrame:
    """`calibration.epochs_alone` for people."""
    rows = [
        {
            "epoch": r.epoch,
            "seeds": r.n,
            f"change at the {r.step:.1%} step": f"{r.rise:+.3f}",
            "lowest change": f"{r.dip:+.3f}" if r.dipped else "none",
            "seeds with a dip": f"{r.dipped} of {r.n}",
            "cosine at the start": f"{r.cosine:+.3f}",
        }
        for r in table.itertuples()
    ]
    return pd.DataFrame(rows) if rows else frame([], "epoch", "seeds", "lowest change")


def durations(table: pd.DataFrame) -> pd.DataFrame:
    """`duration.followed` over seeds, for people: a row a path and application."""
    found = []
    for (method, number), rows in table.groupby(["method", "duration"], sort=False):
        found.append(
            {
                "update": results.NAMES[method],
                "applications": str(int(number)),
                "seeds": str(len(rows)),
                "way": f"{rows['share'].mean():.2%}",
                "forget NLL": mean_and_range(rows["rise"]),
                "retain NLL": mean_and_range(rows["damage"]),
                "activation influence": mean_and_range(rows["influence_activation"]),
                "stored-now influence": mean_and_range(rows["influence_gradient"]),
                "memorised": mean_and_range(rows["exact_memorisation"]),
                "extraction": mean_and_range(rows["extraction_likelihood"]),
            }
        )
    return pd.DataFrame(found)


def duration_stops(table: pd.DataFrame) -> pd.DataFrame:
    """`duration.stops` over seeds: a row a path and rule."""
    return pd.DataFrame(
        {
            "update": results.NAMES[method],
            "stop at": rule,
            "reached in": f"{int(rows['met'].sum())} of {len(rows)}",
            "step (%)": mean_and_range(100 * rows["share"]),
            "forget NLL": mean_and_range(rows["rise"]),
            "retain NLL": mean_and_range(rows["damage"]),
            "memorised": mean_and_range(rows["exact_memorisation"]),
            "extraction": mean_and_range(rows["extraction_likelihood"]),
        }
        for (method, rule), rows in table.groupby(["method", "rule"], sort=False)
    )
