"""Chapter 05: rules for stopping the ascent, and influence and extraction while it lasts.

A rule stops a path where it is first met, linear between two measured steps; D_F there is made of facts that
are read so one by one.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit.report import tables
from unlearnkit.report.ch05_calibration import PATHS, REFERENCE, methods_above, name
from unlearnkit.report.contrasts import contrast
from unlearnkit.report.figures import COLOURS, INK, LABELS, MUTED, figure, note, step_axis
from unlearnkit.report.paths import STEP_NARROW
from unlearnkit.report.readings import along, distance_at, is_path
from unlearnkit.report.run import Arm
from unlearnkit.study.readings import at, crossing

HELD_OUT = ["exact_memorisation", "nll", "extraction_likelihood"]
FIRST, JANG = "memorisation as of held-out facts", "both (Jang et al. 2023)"
BEST = "NLL as in the oracle"  # needs the retrained model: what a perfect rule would give
TITLES = {  # what is read where a rule stops, as tables call it
    **{"share": "step (%)", "rise": "forget NLL", "damage": "retain damage"},
    **{"utility_rise": "perplexity, × start", "oracle_distance": "distance to the oracle"},
    **{"oracle_gap": "past the oracle by", "exact_memorisation": "memorised"},
    "extraction_likelihood": "extraction",
}
SCORES = {
    "influence_activation": "Influence:\nactivation × its gradient",
    "influence_gradient": "Influence:\nstored × present gradient",
}


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

    Columns: seed, layers, method, rule, met (False where it never is: read at the longest step), norm, and
    those of TITLES there, NaN where not measured. A rule that cannot be applied has no rows.
    """
    known, found, values = held_out(arm), [], ["norm", *TITLES]
    for (seed, layers, method), _ in table.groupby(["seed", "layers", "method"], sort=False):
        if (layers, method) not in PATHS:
            continue
        path = along(table[table["seed"] == seed], method, layers).set_index("share", drop=False)
        path = path.reindex(columns=["forget_nll", *values]).astype(float)
        filled = path.interpolate("index", limit_area="inside")
        for rule, over in _met(path, known.loc[seed], arm.run.damage).items():
            if over.isna().all():
                continue
            place, met = crossing(over, 0.0)
            row = {c: at(filled[c], place) for c in values}
            if np.isfinite(row["oracle_distance"]):
                row["oracle_distance"] = distance_at(arm, (seed, layers, method), row["norm"])
            found.append({"seed": seed, "layers": layers, "method": method, "rule": rule, "met": met} | row)
    return tables.frame(found, "seed", "layers", "method", "rule", "met", *values)


def rule_contrasts(stopped: pd.DataFrame) -> pd.DataFrame:
    """D_F on the reference path: the oracle's rule minus each other, in the seeds that both stop, Holm."""
    mine = stopped[is_path(stopped, *REFERENCE) & stopped["met"]]
    mine = mine.set_index("seed").groupby("rule", sort=False)["oracle_distance"]
    by_rule = dict(iter(mine))
    best = by_rule.pop(BEST, pd.Series(dtype=float))
    return contrast(best, by_rule if len(best) else {})


def stop_table(stopped: pd.DataFrame) -> pd.DataFrame:
    """`stops` over seeds, for people: a row a path and rule."""
    shown = stopped.assign(share=100 * stopped["share"], utility_rise=np.exp(stopped["utility_rise"]))
    shown["oracle_gap"] = shown["oracle_gap"].round(6) + 0.0  # not "-0.00"
    measured, found = [c for c in TITLES if shown[c].notna().any()], []
    for (layers, method, rule), rows in shown.groupby(["layers", "method", "rule"], sort=False):
        met = f"{rows['met'].sum()} of {len(rows)}"
        told = {TITLES[c]: tables.mean_and_range(rows[c]) for c in measured}
        found.append({"path": name(layers, method), "stop at": rule, "reached in": met} | told)
    return tables.frame(found, "path", "stop at", "reached in", *(TITLES[c] for c in measured))


def stop_costs(stopped: pd.DataFrame) -> plt.Figure:
    """Retain damage and D_F where each rule stops each path: means, and a bar from lowest to highest seed.

    No mark where some seed is never stopped by the rule.
    """
    here = stopped[stopped.groupby(["layers", "method", "rule"])["met"].transform("all")]
    paths, rules = [where for where in PATHS if is_path(here, *where).any()], list(here["rule"].unique())
    drawn, axes = figure(0.8 * len(rules) + 1.3, 1, 2, sharey=True)
    looks = {
        "hue_order": paths,
        "palette": [COLOURS[method] for _, method in paths],
        "markers": ["o" if layers == "all" else "D" for layers, _ in paths],
    }
    for ax, value in zip(axes, ("damage", "oracle_distance"), strict=True):
        sns.pointplot(
            here, x=value, y="rule", hue=list(zip(here["layers"], here["method"], strict=True)), ax=ax,
            dodge=0.6, linestyle="none", errorbar=("pi", 100), markersize=5, err_kws={"lw": 1.2},
            legend=False, **looks,
        )  # fmt: skip
        ax.set(ylabel="", xlabel=f"{TITLES[value]} there (nats)", xlim=(0, None))
    axes[0].set_yticks(range(len(rules)), [fill(rule, 18) for rule in rules], color=INK)
    axes[0].set_xscale("symlog", linthresh=0.05, linscale=0.6)
    axes[0].set_xticks([0, 0.05, 0.2, 1, 5], ["0", "0.05", "0.2", "1", "5"])
    axes[0].set_xticks([], minor=True)
    lines = [
        plt.Line2D([], [], color=colour, marker=mark, ls="")
        for colour, mark in zip(looks["palette"], looks["markers"], strict=True)
    ]
    names = [LABELS[method] + (f", {layers}" if layers != "all" else "") for layers, method in paths]
    drawn.legend(lines, names, loc="outside upper center", ncols=5, frameon=False, fontsize=8.5)
    return drawn


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


def lasting(table: pd.DataFrame, known: pd.DataFrame) -> plt.Figure:
    """Influence and extraction by distance, means and range over seeds; dashed: the control person's facts.

    `table` is `followed`, `known` is `held_out`.
    """
    drawn, axes = figure(3.7, 1, 3)
    panels = SCORES | {"extraction_likelihood": "Extraction\nlikelihood"}
    paths = pd.concat([along(table, m).assign(method=m) for m in ("first_epoch", "recomputed")])
    told = {"data": paths, "x": "share", "hue": "method", "palette": COLOURS, "legend": False}
    for ax, (column, title) in zip(axes, panels.items(), strict=True):
        sns.lineplot(**told, y=column, marker="o", errorbar=("pi", 100), ax=ax)
        if column in SCORES:
            sns.lineplot(**told, y=f"{column}_control", lw=1.4, ls=(0, (4, 2)), errorbar=None, ax=ax)
        step_axis(ax, sorted(set(paths["share"]))[1::2])
        ax.set(xlim=(0, 1.1 * paths["share"].max()), xlabel="", ylabel="")
        ax.set_title(title, fontsize=9, fontweight="normal")
        ax.axhline(0, color=MUTED, lw=0.8)
    level = known["extraction_likelihood"].mean()
    axes[2].axhline(level, color=INK, lw=1.2, ls=":")
    note(axes[2], "held-out facts", (0, level), ("axes fraction", "data"), (4, -3), va="top", color=INK)
    axes[1].set_xlabel(STEP_NARROW)
    methods_above(drawn, ["first_epoch", "recomputed"], "the same, on another person's facts")
    return drawn
