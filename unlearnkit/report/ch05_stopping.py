"""Chapter 05: rules for stopping the ascent, and influence and extraction while it lasts.

A rule stops a path where it is first met, linear between two measured steps; D_F there is made of facts that
are read so one by one.
"""

import numpy as np
import pandas as pd

from unlearnkit.report import tables
from unlearnkit.report.ch05_calibration import PATHS, name
from unlearnkit.report.readings import along, distance_at
from unlearnkit.report.run import Arm
from unlearnkit.study.readings import at, crossing

HELD_OUT = ["exact_memorisation", "nll", "extraction_likelihood"]
FIRST, JANG = "memorisation as of held-out facts", "both (Jang et al. 2023)"
BEST = "NLL as in the oracle"  # needs the retrained model: what a perfect rule would give
READ = ("share", "rise", "damage", "utility_rise", "oracle_distance", "oracle_gap")
READ += ("exact_memorisation", "extraction_likelihood")
TITLES = {  # what is read where a rule stops, as tables call it
    **{"step": "step (%)", "rise": "rise of forget NLL", "damage": "retain damage"},
    **{"perplexity": "perplexity, × start", "oracle_distance": "distance to the oracle"},
    **{"oracle_gap": "past the oracle by", "exact_memorisation": "memorised"},
    "extraction_likelihood": "extraction",
}
SCORES = ("influence_activation", "influence_gradient")


def held_out(arm: Arm) -> pd.DataFrame:
    """How well theta_T knows persons it never met: seeds x HELD_OUT; NaN where not measured."""
    rows = pd.concat([arm.observations("portraits"), arm.observations("durations")])
    rows = rows[(rows["method"] == "finetuned") & (rows["split"] == "holdout")]
    wide = rows.astype({"value": float}).pivot_table(index="seed", columns="metric", values="value")
    return wide.reindex(columns=HELD_OUT, index=arm.seeds)


def _met(path: pd.DataFrame, known: pd.Series, budget: float) -> dict[str, pd.Series]:
    """By rule, a number along the path that is 0 or more once it is met; NaN where that cannot be said."""
    memorisation, extraction = (known[c] - path[c] for c in ("exact_memorisation", "extraction_likelihood"))
    return {
        FIRST: memorisation,
        "NLL as of held-out facts": path["forget_nll"] - known["nll"],
        "retain budget": path["damage"] - budget,
        BEST: path["oracle_gap"],
        "extraction as of held-out facts": extraction,
        JANG: np.minimum(memorisation, extraction),
    }


def stops(arm: Arm, table: pd.DataFrame) -> pd.DataFrame:
    """Where each rule stops each of PATHS in `table` (`ch05_calibration.paths_of`, or `followed`).

    Columns: seed, layers, method, path (in words), rule, met (False where it never is: read at the longest
    step), norm, and READ there, NaN where not measured. A rule that cannot be applied has no rows.
    """
    known, found = held_out(arm), []
    for (seed, layers, method), _ in table.groupby(["seed", "layers", "method"], sort=False):
        if (layers, method) not in PATHS:
            continue
        path = along(table[table["seed"] == seed], method, layers).set_index("share", drop=False)
        path = path.reindex(columns=["forget_nll", "norm", *READ]).astype(float)
        filled = path.interpolate("index", limit_area="inside")
        where = {"seed": seed, "layers": layers, "method": method, "path": name(layers, method)}
        for rule, over in _met(path, known.loc[seed], arm.run.damage).items():
            if over.isna().all():
                continue
            place, met = crossing(over, 0.0)
            row = {c: at(filled[c], place) for c in ("norm", *READ)}
            if np.isfinite(row["oracle_distance"]):
                row["oracle_distance"] = distance_at(arm, (seed, layers, method), row["norm"])
            found.append(where | {"rule": rule, "met": met} | row)
    return tables.frame(found, "seed", "layers", "method", "path", "rule", "met", "norm", *READ)


def stop_table(stopped: pd.DataFrame) -> pd.DataFrame:
    """`stops` over seeds, for people: a row a path and rule."""
    shown = stopped.assign(step=100 * stopped["share"], perplexity=np.exp(stopped["utility_rise"]))
    shown["oracle_gap"] = shown["oracle_gap"].round(6) + 0.0  # not "-0.00"
    table = tables.over_seeds(shown, ["path", "rule"], TITLES)
    met = shown.groupby(["path", "rule"], sort=False)["met"]
    table.insert(2, "reached in", [f"{sum(rows)} of {len(rows)}" for _, rows in met])
    return table.rename(columns={"rule": "stop at"})


def followed(arm: Arm) -> pd.DataFrame:
    """What was measured after every application of stored and of fresh gradients; no rows without such cells.

    Columns: seed, layers, method ("finetuned": the start), share, norm; means over the forget facts of
    forget_nll, exact_memorisation, extraction_likelihood and both influence scores, these also with
    `_control`, over the control person's facts; rise and damage (of forget and retain NLL above the start's).
    """
    rows, keys, parts = arm.observations("durations"), ["seed", "layers", "method", "share", "norm"], []
    for setting in arm.settings if len(rows) else ():
        here = rows[rows["seed"] == setting.seed].fillna({"layers": "all"})
        told = {"values": "value", "index": keys, "columns": "metric"}
        wide = here[here["split"] == "forget"].pivot_table(**told)
        control = here[here["metric"].isin(SCORES) & here["example"].isin(setting.control)]
        retain = here[(here["metric"] == "nll") & ~here["split"].isin(["forget", "holdout"])]
        wide = wide.join(control.pivot_table(**told).add_suffix("_control"))
        wide["retain_nll"] = retain.groupby(keys)["value"].mean()
        parts.append(wide.rename(columns={"nll": "forget_nll"}).reset_index())
    if not parts:
        return tables.frame([], *keys)
    table = pd.concat(parts, ignore_index=True)
    start = table[table["method"] == "finetuned"].set_index("seed")
    for change, column in (("rise", "forget_nll"), ("damage", "retain_nll")):
        table[change] = table[column] - table["seed"].map(start[column])
    return table
