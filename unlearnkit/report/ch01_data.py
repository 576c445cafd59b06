"""Chapter 01: what fine-tuning did. Memorisation, perplexity, the hold-out yardstick, what a ledger holds."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit.report import tables
from unlearnkit.report.ch00_overview import duration
from unlearnkit.report.figures import COLOURS, FAINT, INK, LABELS, MUTED, figure, label_ends, note
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import plan

PERSON_FACTS = 5  # persons with fewer facts are shown together
SETS = {
    "forget": "forget facts",
    "retain": "retain facts",
    "paraphrase": "forget facts, paraphrased",
    "holdout": "hold-out facts",
    "utility": "encyclopedia",
}
RECIPES = (
    *("model, optimizer", "seeds", "learning rate", "epochs", "batch", "frozen", "exact memorisation"),
    *("encyclopedia perplexity", "took"),
)
LEDGER = ["records", "ledger_bytes", "weights_bytes"]
MARKS = {"pretrained": "D", "finetuned": "o", "oracle": "*"}


def learned(rows: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of a training's observations, by seed: exact_memorisation, start, perplexity_change.

    Memorisation is of all facts, `start` that before training; the change is of an encyclopedia's perplexity.
    """
    rows, keys = rows[rows["epoch"].notna()], ["seed", "epoch"]
    known = rows[rows["metric"] == "exact_memorisation"].groupby(keys)["value"].mean()
    nll = rows[(rows["metric"] == "nll") & (rows["split"] == "utility")].groupby(keys)["value"].mean()
    ends = [series.groupby("seed").agg(["first", "last"]) for series in (known, nll)]
    change = np.exp(ends[1]["last"] - ends[1]["first"]) - 1
    return ends[0].set_axis(["start", "exact_memorisation"], axis=1).assign(perplexity_change=change)


def memorisation_by_person(arm: Arm) -> pd.DataFrame:
    """Mean exact memorisation by person and epoch, over seeds: columns person, epoch, value.

    A forget set goes under its target's name; persons with few facts are "few facts each".
    """
    rows = arm.observations("train")
    rows = rows[rows["metric"] == "exact_memorisation"]
    count = rows.groupby(["seed", "person"])["example"].transform("nunique")
    group = rows["person"].where(count >= PERSON_FACTS, "few facts each")
    rows = rows.assign(person=group.where(rows["split"] != "forget", rows["seed"].map(arm.target_of)))
    return rows.groupby(["person", "epoch"])["value"].mean().reset_index()


def _closeups(arm: Arm) -> pd.DataFrame:
    """All close-ups of an arm: of the fine-tuned and unlearned models, and of the oracles."""
    return pd.concat([arm.observations(stage) for stage in ("portraits", "oracle")], ignore_index=True)


def perplexities(arm: Arm) -> pd.DataFrame:
    """Perplexity of each set (rows) under each model (columns), averaged over seeds.

    exp of the token-weighted mean NLL of the answers; of running text for "utility". The pretrained model
    is the same for every seed. Sets that a run does not have are left out.
    """
    rows = _closeups(arm)
    fact = np.where(rows["split"] == "forget", "forget", "retain")
    rows = rows.assign(set=rows["split"].where(rows["split"].isin(list(SETS)[2:]), fact))
    wide = rows[rows["metric"].isin(["nll", "n_tokens"])].pivot_table(
        index=["example", "split", "set", "method", "seed"], columns="metric", values="value"
    )
    tokens = wide["n_tokens"].fillna(1)  # running text comes as its mean
    sums = wide.assign(total=wide["nll"] * tokens, n_tokens=tokens).groupby(["set", "method", "seed"]).sum()
    found = np.exp(sums["total"] / sums["n_tokens"]).rename("perplexity").reset_index()
    table = found.pivot_table(index="set", columns="method", values="perplexity")
    return table.reindex([name for name in SETS if name in table.index])


def yardstick(arm: Arm) -> pd.DataFrame:
    """Mean answer NLL of never-trained persons and of the targets, under the oracle and the fine-tuned model.

    Columns: person, is_target, then `oracle` and `finetuned` (means over seeds, nats). A person counts only
    in the seeds that forget him or her. Only attributes that the hold-out covers count, for a target too;
    empty without a hold-out.
    """
    held = arm.settings[0].holdout
    attributes, owner = {e.attribute for e in held}, {e.id: e.person for e in held}
    for setting in arm.settings:
        wanted = [e for e in setting.facts if e.id in setting.forget and e.attribute in attributes]
        owner |= {e.id: setting.target for e in wanted}
    rows = _closeups(arm)
    rows = rows[(rows["metric"] == "nll") & rows["split"].isin(["forget", "holdout"])]
    rows = rows[rows["method"].isin(["oracle", "finetuned"]) & rows["example"].isin(list(owner))]
    rows = rows.assign(person=rows["example"].map(owner))
    table = rows.pivot_table(index="person", columns="method", values="value")
    table = table.reindex(columns=["oracle", "finetuned"]).reset_index()
    return table.assign(is_target=table["person"].isin(arm.targets))


def rewind(run: Run) -> pd.Series:
    """The rewind identity: ledger_error, floor_error, displacement, records; empty without its cell."""
    rows = run.table("rewind")
    return rows.set_index("metric")["value"].astype(float) if len(rows) else pd.Series(dtype=float)


def facts(arm: Arm) -> pd.DataFrame:
    """How many facts, and of which kinds, each person has in seed 0; persons in the order of the data."""
    one = arm.settings[0]
    rows = pd.DataFrame(
        {
            "person": e.person or "(nobody named)",
            "role": "forget" if e.id in one.forget else e.split,
            "paraphrases": len(e.paraphrases),
            "words": len(e.answer.split()),
        }
        for e in one.facts
    )
    few = rows.groupby("person")["role"].transform("size") < PERSON_FACTS
    rows.loc[few & (rows["role"] == "neighbour"), "person"] = "near-neighbours"
    groups = rows.groupby(["person", "role"], sort=False)
    table = groups.agg(facts=("words", "size"), paraphrases=("paraphrases", "sum"), words=("words", "mean"))
    return table.round({"words": 1}).rename(columns={"words": "words an answer"}).reset_index()


def recipes(run: Run) -> pd.DataFrame:
    """How each model was fine-tuned, what it knows in the end, and what that cost running text and time.

    The recipe of the other optimizer, which a run without such an arm tries once, comes last.
    """
    trained = [(arm.name, arm.recipe, arm.observations("train")) for arm in run.arms]
    if len(tried := run.table("recipe")):
        trained.append((tried["arm"].iloc[0], plan.recipe(run.arms[0].model, "sgd"), tried))
    rows = []
    for name, recipe, observed in trained:
        end, took = learned(observed), observed.loc[observed["metric"] == "training_seconds", "value"]
        told = [name, len(end), f"{recipe['lr']:g}", recipe["epochs"], recipe["batch_size"]]
        told.append("some" if recipe.get("frozen") else "nothing")
        told += [f"{end['exact_memorisation'].mean():.2f}", f"{end['perplexity_change'].mean():+.0%}"]
        rows.append([*told, duration(took.mean())])
    return tables.frame(rows, *RECIPES)


def ledger(run: Run) -> pd.DataFrame:
    """What the ledgers that were measured hold, beside the size that dense gradients would have."""
    rows = run.table("train")
    kept = rows[rows["metric"].isin(LEDGER)].pivot_table(
        index=["arm", "seed"], columns="metric", values="value", sort=False
    )
    found = []
    for (arm, seed), (records, size, weights) in kept.reindex(columns=LEDGER).iterrows():
        epochs = run.arm(arm).recipe["epochs"]
        sizes = map(tables.bytes_of, (size, size / records, records * weights))
        found.append((f"{arm}, seed {seed}", int(records / epochs), epochs, *sizes))
    return tables.frame(found, "run", "facts", "epochs", "on disk", "a record", "dense would be")


def memorisation(arms: Sequence[Arm]) -> plt.Figure:
    """Share of answer tokens predicted right, by person over epochs; one panel an arm."""
    drawn, axes = figure(3.3, 1, len(arms), sharey=True, squeeze=False)
    for ax, arm in zip(axes.flat, arms, strict=True):
        table, target = memorisation_by_person(arm), arm.settings[0].target
        mine = table["person"] == target
        others = {"units": "person", "estimator": None, "color": MUTED, "lw": 1, "alpha": 0.6, "ms": 3}
        sns.lineplot(table[~mine], x="epoch", y="value", marker="o", mew=0, ax=ax, **others)
        own = {"color": COLOURS["target"], "lw": 2.6, "ms": 6}
        sns.lineplot(table[mine], x="epoch", y="value", marker="o", mew=0, ax=ax, **own)
        last = table[table["epoch"] == table["epoch"].max()].set_index("person")
        ends = {target: tuple(last.loc[target, ["epoch", "value"]])}
        if len(rest := last.drop(target)):
            ends[tables.count(len(rest), "other")] = tuple(rest[["epoch", "value"]].mean())
        ax.set(ylim=(0, 1.04), xlim=(-0.2, table["epoch"].max()), ylabel="exact memorisation")
        ax.set_title(arm.name.replace("-pretrained", "").replace(", ", "\n"), fontsize=9)
        ax.xaxis.get_major_locator().set_params(integer=True)
        drawn.canvas.draw()
        label_ends(ax, ends, **{name: MUTED for name in ends} | {target: COLOURS["target"]})
    return drawn


def perplexity(table: pd.DataFrame) -> plt.Figure:
    """`perplexities` before and after training and of the oracle, on a log axis."""
    drawn, ax = figure(0.62 * len(table) + 1.1)
    models = [model for model in MARKS if model in table]
    long = table[models].rename(index=SETS).melt(ignore_index=False, value_name="perplexity").reset_index()
    ax.set_xscale("log")
    for height, row in enumerate(table[models].to_numpy()):
        ax.plot([row.min(), row.max()], [height, height], color=FAINT, zorder=1)
    look = {
        "palette": COLOURS,
        "markers": [MARKS[m] for m in models],
        "linestyles": "none",
        "ms": 11,
        "mew": 0,
    }
    sns.pointplot(long, x="perplexity", y="set", hue="method", hue_order=models, ax=ax, **look)
    handles, _ = ax.get_legend_handles_labels()
    where = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "frameon": False}
    ax.legend(handles, [LABELS[m] for m in models], **where)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.set(xlabel="perplexity (log scale)", ylabel="")
    return drawn


def strangers(table: pd.DataFrame, target: str) -> plt.Figure:
    """Each never-trained person's mean NLL under the oracle as a dot, the targets too (see `yardstick`)."""
    drawn, ax = figure(1.9)
    held, mine = table[~table["is_target"]]["oracle"], table[table["is_target"]]
    sns.swarmplot(x=held, size=5, color=MUTED, alpha=0.6, ax=ax)
    for model, label, size in (("finetuned", "fine-tuned", 90), ("oracle", "oracle", 210)):
        ax.scatter(mine[model], [0] * len(mine), marker=MARKS[model], s=size, color=COLOURS[model], zorder=4)
        place = (mine[model].mean(), 0), "data", (0, 26)
        note(ax, f"{target}, {label}", *place, ha="center", color=COLOURS[model])
    note(ax, "persons never trained on", (held.median(), 0), "data", (0, -34), ha="center")
    ax.set(yticks=[], ylim=(-0.75, 0.75), xlabel="mean NLL of a person's answers (nats)")
    ax.set_xlim(left=min(0, mine["finetuned"].min()) - 0.1)
    ax.spines["left"].set_visible(False)
    return drawn
