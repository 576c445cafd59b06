"""The comparison of methods as the report reads it: every path's readings, by seed and by method.

Definitions: `claims.methods`, `study.compared`. Nats a token, unless a column says otherwise.
"""

from functools import cache

import numpy as np
import pandas as pd
from IPython.display import Markdown

from unlearnkit import stats
from unlearnkit.claims.methods import PAPER
from unlearnkit.report import contrasts
from unlearnkit.report.claim_values import cost
from unlearnkit.report.oracles import oracle_nll
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import plan, trials
from unlearnkit.study.compared import READ, Path, World
from unlearnkit.study.grid import KINDS
from unlearnkit.unlearning import METHODS

READINGS = ("price", "share", "reached", "distance", *READ)
SHARDED = 4 * 2 + 1  # weights of each shard after each slice, and of the start (`training.Shards`)
SIZES = ["records", "ledger_bytes", "moments_bytes", "weights_bytes"]


def of_run(run: Run) -> list[Arm]:
    """The arms of a run that compare methods, the headline first; none where it did not look.

    After plain SGD two are walked, which are chapter 15's.
    """
    return [arm for arm in run.arms if arm.optimizer == "adamw" and len(walks(arm))]


WANTED = {
    "the principal methods on the run's own model": "seeds_principal",
    "the methods that are not principal on the run's own model": "seeds_others",
    "all methods on gpt2-tiny": "seeds_methods",
    "all methods on the other small models": "seeds_methods_beside",
    "the recollected Hessian": "seeds_hessian",
}


def warnings(run: Run) -> Markdown | None:
    """What stands above a page where a run compares no methods, or in fewer worlds than were registered."""
    if of_run(run):
        return Markdown(told) if (told := contrasts.interim(run, WANTED)) else None
    return Markdown(
        "> ⚠ **This run compared no methods**, and shows nothing of what this page says of them. Runs of "
        "the profile `full` compare all, and others of the study's own facts with "
        '`P="seeds_principal=3 seeds_others=3"`.'
    )


@cache
def walks(arm: Arm) -> pd.DataFrame:
    """Every path that was walked, rows or none: method, seed, peak_gb (memory, with measuring)."""
    told = arm.run.costs.query("arm == @arm.name and stage == 'compared'")
    method = told["title"].str.extract(rf"^{KINDS['compared']}, (\w+) \(", expand=False)
    table = told.assign(method=method)[["method", "seed", "peak_gb"]]
    return table[table["seed"].isin(arm.seeds)].reset_index(drop=True)


def methods(arm: Arm) -> list[str]:
    """The methods that an arm compares, in tables' order."""
    there = set(walks(arm)["method"])
    return [name for name in METHODS if name in there]


@cache
def worlds(arm: Arm) -> dict[int, World]:
    """By seed, what its paths are held against; as the study has it (`study.compare.Comparison`)."""
    trained, found = arm.observations("recorded"), {}
    for setting in arm.settings:
        rows = trained[trained["seed"] == setting.seed]
        if len(rows):
            retain = [e.id for e in setting.retain()]
            target = oracle_nll(arm, setting.seed).mean(axis=1)
            found[setting.seed] = World(rows, target, retain, setting.unscored_control())
    return found


@cache
def paths(arm: Arm) -> dict[tuple[str, int], Path]:
    """By method and seed, each path; of one that ended at once, theta_T alone."""
    rows = arm.observations("compared")
    by_path = dict(iter(rows.groupby(["method", "seed"])))
    return {
        (row.method, row.seed): Path(row.method, by_path.get((row.method, row.seed), rows.iloc[:0]), world)
        for row in walks(arm).itertuples()
        if (world := worlds(arm).get(row.seed))
    }


@cache
def reading(arm: Arm, kind: str = "forgetting", level: float = 0.0) -> pd.DataFrame:
    """One reading (`claims.READINGS`) of every path: method, seed, and those of READINGS.

    `share` is the price as a share of what throwing that seed's fine-tuning away costs.
    """
    rows = []
    for (method, seed), path in paths(arm).items():
        told = path.read(kind, level)
        share = told["price"] / path.world.thrown_away
        rows.append({"method": method, "seed": seed, "share": share} | told)
    return pd.DataFrame(rows, columns=["method", "seed", *READINGS])


def prices(arm: Arm) -> pd.DataFrame:
    """What each method costs the retain facts at matched forgetting: seeds x methods; NaN: not walked."""
    return reading(arm).pivot_table("price", "seed", "method", dropna=False).reindex(columns=methods(arm))


@cache
def summary(arm: Arm) -> pd.DataFrame:
    """Means over seeds at matched forgetting, a row a method (the index).

    Columns: title, family, seeds, reached (how many of them get there), price with ci_low and ci_high (95 %
    t interval; NaN of one seed), share (`reading`), distance (D_F there), closest (the least
    D_F) with closest_damage, the columns of READ, peak_gb (the largest), control. A path that never gets
    there has the price of throwing the fine-tuning away, and is read for the rest where it costs most.
    """
    there, near = (reading(arm, kind).groupby("method") for kind in ("forgetting", "closest"))
    found = there[["price", "share", "distance", *READ]].mean()
    found = found.assign(
        seeds=there.size(),
        reached=there["reached"].sum().astype(int),
        closest=near["distance"].mean(),
        closest_damage=near["damage"].mean(),
        peak_gb=walks(arm).groupby("method")["peak_gb"].max(),
    )
    for name, own in there["price"]:
        interval = stats.mean_ci(own) if len(own) > 1 else None
        ends = (interval.ci_low, interval.ci_high) if interval else (np.nan, np.nan)
        found.loc[name, ["ci_low", "ci_high"]] = ends
    found["title"] = [METHODS[name].title for name in found.index]
    found["family"] = [METHODS[name].family for name in found.index]
    return found.assign(control=found["family"] == "control").reindex(methods(arm))


def thrown_away(arm: Arm) -> float:
    """What the retain facts lose by going back to theta_0, mean over the comparison's seeds."""
    return float(np.mean([world.thrown_away for world in worlds(arm).values()]))


def paraphrases(arm: Arm) -> float:
    """The oracles' NLL of the forget facts in other words, mean over the comparison's seeds."""
    rows = arm.observations("oracle")
    rows = rows[(rows["split"] == "paraphrase") & (rows["metric"] == "nll") & rows["seed"].isin(worlds(arm))]
    return float(rows["value"].mean())


def retraining_seconds(arm: Arm) -> float:
    """Seconds that an oracle's training took, the median; NaN where it was not measured, or elsewhere.

    Seconds of a GPU say nothing of a processor's.
    """
    places = arm.run.costs.query("arm == @arm.name").groupby("stage")["device"].agg(set)
    if places.get("oracle") != places.get("compared"):
        return np.nan
    rows = arm.observations("oracle")
    return float(rows.loc[rows["metric"] == "training_seconds", "value"].median())


def on_the_embedding(arm: Arm) -> str:
    """What the paper's method costs where the paper would use it, in words; "" where nobody looked."""
    there = cost(arm, ("embedding", PAPER)).reindex(prices(arm).index).mean()
    return f"; on the embedding alone, which the paper would edit, {there:.2f}" if there == there else ""


def needed(arm: Arm, name: str) -> tuple[str, ...]:
    """Those of `unlearning.inputs.INPUTS` that a method cannot do without as it was tuned."""
    return METHODS[name].needed(trials.chosen(plan.family(arm.model), name, arm.recipe))


def reads(arm: Arm, name: str) -> tuple[list[int], bool]:
    """The epochs of the ledger that a method reads as it was tuned, and whether it reads moments, too."""
    every = list(range(1, arm.recipe["epochs"] + 1))
    method = METHODS[name]
    if "ledger" not in method.needs:
        return [], False
    told = {**method.options, **trials.chosen(plan.family(arm.model), name, arm.recipe)}
    moments = "moments" in method.reads and told.get("metric") != "gradient"
    if "first epoch" in method.reads:
        return [1], moments
    if "epoch" in told:
        return [told["epoch"]], moments
    return every if told.get("epochs", "all") == "all" else list(told["epochs"]), moments


@cache
def kept(arm: Arm) -> pd.Series:
    """Bytes that must be kept of a training, for anybody who may ask, so that a method can run; by method.

    From sizes that the run measured. The ledger's bytes a record, times all facts and the epochs that are
    read (`reads`); AdamW's second moments in these; weights for each state of the training that the method
    starts from. 0 where the method needs texts alone; NaN where the run has no such sizes.
    """
    rows = arm.observations("recorded")
    size = rows.groupby("metric")["value"].mean().reindex(SIZES)
    recipe, facts = arm.recipe, len(arm.settings[0].facts)
    batches = -(-facts // recipe["batch_size"])
    record, weights = size["ledger_bytes"] / size["records"], size["weights_bytes"]
    found = {}
    for name in methods(arm):
        method, (epochs, moments) = METHODS[name], reads(arm, name)
        found[name] = record * facts * len(epochs) if epochs else 0.0
        found[name] += size["moments_bytes"] * len(epochs) / recipe["epochs"] if moments else 0.0
        if "shards" in method.needs:
            found[name] += weights * SHARDED
        elif "checkpoints" in method.needs:
            found[name] += weights * (recipe["epochs"] * batches if "updates" in method.reads else 1)
    return pd.Series(found, dtype=float)
