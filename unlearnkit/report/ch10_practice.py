"""Chapter 10: settings ranked by what forgetting costs, which one to use, and what it leaves behind.

The advice goes by a rule on the effect, fixed here, and not by p, which a small spread alone can win: by the
reading of the verdicts (`claims.registered`), so that the two agree. Of an arm with several seeds the setting
is advised that pays least on the mean over seeds for forgetting as the oracles have, among those that every
seed walked, that paid less than the best control in every seed, and less by at least the margin on the mean.
"""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import claims
from unlearnkit.claims.judging import FAIL, NO_POWER, PASS
from unlearnkit.report import ch09_advice, side_by_side, tables
from unlearnkit.report import ch11_verification as grid
from unlearnkit.report.ch04_layers import part_name
from unlearnkit.report.ch07_facts import RANDOM, WRONG, fact_readings
from unlearnkit.report.claim_values import cost
from unlearnkit.report.contrasts import contrast
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.verified import ADVISED
from unlearnkit.unlearning import METHODS

CONTROLS = ("wrong_person", "random_direction")
LAYER_CONTROLS = ("random_subset", "random_last2", "other2")  # chapter 04's; nobody would use them
LAYERS = {"last2": "the last two blocks"}
MARGIN = next(claim.margin for claim in claims.CLAIMS if claim.id == "C1")  # nats that matter
NEAR = 0.1  # nats: a fact this close to the oracle's NLL is neither still known nor past the oracle
MODELS = {
    "finetuned": "fine-tuned (nothing done)",
    "first_epoch": "first epoch",
    "first_epoch_forgotten": "first epoch, where it has forgotten on the mean",
    "all_epochs": "all epochs",
    "wrong_person": "wrong person (control)",
    "random_direction": "random direction (control)",
    "oracle": "oracle (retrained)",
}
LEFT = ("forget_nll", "still", "past", "paraphrase_nll", "paraphrase_distance")
LEFT += ("exact_memorisation", "rougeL_recall")


# -- which setting ----------------------------------------------------------------------------------------


@cache
def ranked(arm: Arm) -> pd.DataFrame:
    """Every update and layer selection by what it pays for forgetting as the oracles have, cheapest first.

    The random parameters and blocks that layer selections are held against are left out.

    Columns: layers, method, setting (both in words), control (whether it is one), n (seeds), reach (share of
    them where it gets there), cost (mean of `claim_values.cost`, nats), distance (mean D_F where it is read),
    ahead (what each seed's best control on all layers pays beyond the setting, paired), ci_low, ci_high,
    p_holm (over all settings but controls), wins (seeds where it pays less), advised (by the module's rule).
    The best control of a seed is picked after looking, which flatters the controls.
    """
    table = reading(arm, "forgetting").dropna(subset="oracle_distance")
    table = table[~table["method"].isin(LAYER_CONTROLS) & ~table["layers"].isin(LAYER_CONTROLS)]
    groups = table.groupby(["layers", "method"], sort=False)
    found = groups[["reached", "oracle_distance"]].mean().set_axis(["reach", "distance"], axis=1)
    found = found.assign(n=groups.size(), control=found.index.get_level_values("method").isin(CONTROLS))
    costs = {key: cost(arm, key) for key in found.index}
    best = pd.DataFrame({key: costs[key] for key in (WRONG, RANDOM) if key in costs}).min(axis=1)
    families = [
        contrast(best, {key: costs[key] for key in part.index}).set_axis(part.index)
        for _, part in found.groupby("control")
    ]
    found = found.join(pd.concat(families)[["difference", "ci_low", "ci_high", "p_holm"]])
    found = found.rename(columns={"difference": "ahead"})
    found["cost"] = [costs[key].mean() for key in found.index]
    found["wins"] = [int((best.reindex(costs[key].index) > costs[key]).sum()) for key in found.index]
    found["setting"] = [name(*key) for key in found.index]
    found = found.reset_index().sort_values("cost", kind="stable", ignore_index=True)
    seeds = len(arm.seeds)
    every = (found["n"] == seeds) & (found["wins"] == seeds) & (seeds > 1)
    fit = every & ~found["control"] & (found["ahead"] >= (arm.run.margin or MARGIN))
    return found.assign(advised=fit & (fit.cumsum() == 1))


def advised(arm: Arm) -> tuple[str, str] | None:
    """(layers, method) of the setting that the module's rule advises; None where it advises none."""
    chosen = ranked(arm).query("advised")
    return (chosen["layers"].iloc[0], chosen["method"].iloc[0]) if len(chosen) else None


def with_all_records(arm: Arm) -> str:
    """What chapter 09 advises whoever has everybody's records, in words.

    "–" where the arm did not look, or what it advises reads the person's own alone.
    """
    if not len(side_by_side.walks(arm)):
        return "–"
    chosen = ch09_advice.advice(arm).set_index("have").loc["the ledger", "use"]
    if not chosen:
        return "nothing"
    if "others" not in METHODS[chosen].reads:
        return "–"
    one = side_by_side.summary(arm).loc[chosen]
    return f"{one['title']}: {one['price']:.2f} ({tables.count(one['seeds'], 'seed')})"


def name(layers: str, method: str) -> str:
    """A setting in words: the update, and where it is not all layers, on which."""
    told = f"epoch {method[6:]} alone" if method.startswith("epoch_") else tables.NAMES.get(method, method)
    told = told.replace("'s gradients", "").replace("s' gradients", "s").replace("first epoch, ", "")
    return told if layers == "all" else f"{told}, {LAYERS.get(layers, part_name(layers))} only"


# -- whether it is shown to have forgotten ----------------------------------------------------------------


def _as_walked(arm: Arm, name: str) -> str:
    """What an update of the grid is called: AdamW's by the epochs that it was tuned to."""
    first = name == "adam_replay" and side_by_side.reads(arm, name)[0] == [1]
    return tables.NAMES.get("adam_first" if first else name, grid.title(name))


def tested(run: Run) -> pd.DataFrame:
    """What chapter 11's grid says of the updates that need the ledger only, in each arm.

    Columns: arm, update, verdict, and the names of the tests that it passes, fails, or cannot be told by.
    """
    kinds = {"passes": PASS, "fails": FAIL, "cannot tell": NO_POWER}
    rows = []
    for arm in grid.of_run(run):
        found = grid.verdicts(arm)
        for name in (name for name in found.index if name not in grid.MUST):
            if name == ADVISED or METHODS[name].needs == ("ledger",):
                told = {"arm": tables.short(arm.name), "update": _as_walked(arm, name)}
                verdicts = found.loc[name].drop(grid.VERDICT)
                told |= {"verdict": found.loc[name, grid.VERDICT]}
                rows.append(told | {title: _named(verdicts, kind) for title, kind in kinds.items()})
    return tables.frame(rows, "arm", "update", "verdict", *kinds)


def _named(verdicts: pd.Series, kind: str) -> str:
    names = [grid.TITLES[row] for row in verdicts.index[verdicts == kind]]
    return ", ".join(names) or "–"


# -- what it leaves behind --------------------------------------------------------------------------------


@cache
def left_behind(arm: Arm) -> pd.DataFrame:
    """What each model still knows of the target, a row a seed and model.

    Columns: seed, model (in MODELS' order), distance (D_F), and those of LEFT: still and past are shares of
    the forget facts whose NLL is below, or above, the oracles' by more than NEAR. Of the close-ups, measured
    at the step that matches the damage, or the forgetting where MODELS says so; of the two controls, which
    have none, as read off their paths, and NaN where a path does not look. An oracle is held against the
    others of its world.
    """
    rows = pd.concat([arm.observations(stage) for stage in ("portraits", "oracle")], ignore_index=True)
    rows = rows[rows["method"].isin(MODELS)].assign(world=rows["seed"].map(arm.world_of))
    forget = rows[rows["split"] == "forget"]
    asked = _shares(_against_oracle(rows[rows["split"] == "paraphrase"]))
    said = forget.pivot_table(index=["seed", "method"], columns="metric", values="value")
    said = said.reindex(columns=["exact_memorisation", "rougeL_recall"])
    asked = asked[["forget_nll", "distance"]].set_axis(["paraphrase_nll", "paraphrase_distance"], axis=1)
    controls = fact_readings(arm).query("layers == 'all' and method in @CONTROLS")
    controls = _shares(controls.assign(gap=controls["nll"] - controls["oracle"]))
    both = pd.concat([_shares(_against_oracle(forget)).join([asked, said]), controls]).reset_index()
    both = both.rename(columns={"method": "model"}).reindex(columns=["seed", "model", "distance", *LEFT])
    order = list(MODELS).index
    return both.sort_values("model", key=lambda m: m.map(order), kind="stable", ignore_index=True)


def _against_oracle(rows: pd.DataFrame) -> pd.DataFrame:
    """seed, method, nll and gap (nll minus the mean over the oracles of its world) of each example.

    An oracle's own gap is to the other oracles; NaN where there are none.
    """
    nll = rows[rows["metric"] == "nll"].rename(columns={"value": "nll"})
    own = nll["method"] == "oracle"
    fact = ["world", "example"]
    oracles = nll[own].groupby(fact)["nll"].agg(["sum", "size"])
    oracles = oracles.reindex(pd.MultiIndex.from_frame(nll[fact])).to_numpy()
    total, count = oracles[:, 0] - np.where(own, nll["nll"], 0.0), oracles[:, 1] - own
    return nll.assign(gap=nll["nll"] - total / count.where(count > 0))


def _shares(facts: pd.DataFrame) -> pd.DataFrame:
    """By seed and method: forget_nll, and where there is a gap, distance, still and past."""
    gap = facts["gap"].astype(float)
    told = facts.assign(forget_nll=facts["nll"], distance=gap.abs(), still=gap < -NEAR, past=gap > NEAR)
    told[["still", "past"]] = told[["still", "past"]].astype(float).where(gap.notna(), axis=0)
    columns = ["forget_nll", "distance", "still", "past"]
    return told.groupby(["seed", "method"])[columns].mean()


# -- what it costs ----------------------------------------------------------------------------------------


def prices(arm: Arm) -> dict[str, float]:
    """What the arm's work takes: medians over seeds, as a machine may be busy or asleep; NaN for what was not
    measured.

    Keys: train_seconds (with the ledger), oracle_seconds (retraining), first_epoch and all_epochs (seconds of
    one update from the ledger), train_gb and path_gb (peak memory), and of seed 0's ledger: records (one a
    fact and epoch), ledger_bytes, weights_bytes.
    """
    metrics = {stage: arm.observations(stage).groupby("metric")["value"] for stage in ("train", "oracle")}
    took = {stage: metrics[stage].median().get("training_seconds", np.nan) for stage in metrics}
    applied = arm.observations("portraits")  # a path reads the ledger once for all its steps
    seconds = applied.groupby("method")["seconds"].median() if "seconds" in applied else {}
    peak = arm.run.costs.query("arm == @arm.name").groupby("stage")["peak_gb"].max()
    kept = metrics["train"].max()  # those of a ledger are seed 0's
    return {
        **{f"{stage}_seconds": value for stage, value in took.items()},
        **{f"{stage}_gb": peak.get(stage, np.nan) for stage in ("train", "path")},
        **{method: seconds.get(method, np.nan) for method in ("first_epoch", "all_epochs")},
        **{key: kept.get(key, np.nan) for key in ("records", "ledger_bytes", "weights_bytes")},
    }
