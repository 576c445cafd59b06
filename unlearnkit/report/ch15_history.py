"""Chapter 15: what a kept history of training buys: its bytes, and the price of forgetting with it."""

import json
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.report import contrasts, figures, side_by_side, tables
from unlearnkit.report.ch09_figures import FAMILIES, family_legend
from unlearnkit.report.ch09_imputed import measured
from unlearnkit.report.ch09_tuning import options, tuning
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.side_by_side import kept, methods, reading, summary
from unlearnkit.study.compare import HESSIAN
from unlearnkit.unlearning import METHODS

STATES = ("msa", "rewind", "exact_replay", "amnesiac", "thudi", "finetune_retain")
LEDGER = ("kfac_replay", "projected_replay", "repselect", "adam_replay")
BESIDE = ("first_epoch", "all_epochs", "retrain")  # what they are held against
BY_EPOCH = ("rewind", "msa", "single_epoch")  # methods whose trials choose an epoch


def rows(arm: Arm, names: Sequence[str]) -> pd.DataFrame:
    """What some methods need kept, and what forgetting with them costs others, in words; by what is kept."""
    there = [name for name in names if name in methods(arm)]
    stored = kept(arm).reindex(there).sort_values(kind="stable")
    found = summary(arm).reindex(stored.index)
    again = side_by_side.retraining_seconds(arm)
    return pd.DataFrame(
        {
            "method": found["title"].to_numpy(),
            "keeps": [keeps(arm, name) for name in found.index],
            "bytes": [tables.bytes_of(size) if size > 0 else "–" for size in stored],
            "forgets on the mean in": [f"{row.reached} of {row.seeds}" for row in found.itertuples()],
            "others lose [95 %]": tables.estimates(found, "price", ".2f"),
            "measured": [tables.number(value, ".2f") for value in measured(found)],
            "D_F there": [tables.number(value, ".2f") for value in found["distance"]],
            "seconds": [tables.number(value, ".1f") for value in found["seconds"]],
            "of retraining": [tables.number(value / again, ".0%") for value in found["seconds"]],
        }
    )


def keeps(arm: Arm, name: str) -> str:
    """What a method reads of a training, as it was tuned, in words."""
    method = METHODS[name]
    epochs, moments = side_by_side.reads(arm, name)
    if epochs:
        some = len(epochs) < arm.recipe["epochs"]
        part = f"ledger, epoch {', '.join(map(str, epochs))}" if some else "ledger"
        return f"{part}, moments" if moments else part
    if "updates" in method.reads:
        return "every step's update"
    return "one state of the weights" if "checkpoints" in method.needs else "texts"


def by_epoch(arm: Arm) -> pd.DataFrame:
    """Trials of the methods that start from an epoch: what each epoch costs, means over the tuning worlds.

    Columns: method (a name), epoch, trial (the other options, in words), price, closest, seconds. No rows
    where nobody tuned them.
    """
    _, found = tuning(arm)
    found = found[found["method"].isin(BY_EPOCH)]
    told = [json.loads(trial) for trial in found["trial"]]
    found = found.assign(
        epoch=[trial.get("epoch") for trial in told],
        trial=[options(json.dumps({k: v for k, v in trial.items() if k != "epoch"})) for trial in told],
    )
    means = found.groupby(["method", "epoch", "trial"], sort=False)[["price", "closest", "seconds"]].mean()
    return means.reset_index()


def by_epoch_table(arm: Arm) -> pd.DataFrame:
    """`by_epoch` in words."""
    found = by_epoch(arm)
    titles = {"price": "others lose", "closest": "closest D_F", "seconds": "seconds, whole path"}
    told = {title: [f"{value:.2f}" for value in found[column]] for column, title in titles.items()}
    return pd.DataFrame(
        {"method": [METHODS[m].title for m in found["method"]], "epoch": found["epoch"].astype(int)}
        | {"other options": found["trial"].replace("its defaults", "–")}
        | told
    )


def of_hessian(run: Run) -> Arm | None:
    """The arm on which replay with and without the Hessian is walked, where a run has it."""
    return next((a for a in run.arms if a.optimizer == "sgd" and set(HESSIAN) <= set(methods(a))), None)


def hessian_table(arm: Arm) -> pd.DataFrame:
    """Replay of all epochs, and the same with what later steps made of it, means over seeds, in words."""
    found = summary(arm).loc[list(HESSIAN)]
    columns = {"D_F there": "distance", "closest D_F": "closest", "seconds": "seconds"}
    return pd.DataFrame(
        {
            "method": found["title"].to_numpy(),
            "forgets on the mean in": [f"{row.reached} of {row.seeds}" for row in found.itertuples()],
            "others lose [95 %]": tables.estimates(found, "price", ".2f"),
        }
        | {title: [tables.number(v, ".2f") for v in found[column]] for title, column in columns.items()}
    )


def hessian_sentence(arm: Arm) -> str:
    """How close to the oracle replay comes, by how much the recollected Hessians change that, and whether."""
    near = reading(arm, "closest").pivot_table("distance", "seed", "method")
    replay, recollected = (near[name] for name in HESSIAN)
    change = {"ci_low": np.nan, "ci_high": np.nan} | contrasts.paired(recollected - replay)
    shown = "" if change["ci_high"] < 0 else " It is not shown that they bring it nearer."
    return (
        f"On {arm.name} replay comes as close as {replay.mean():.2f} nats a fact to the oracle, and with the "
        f"Hessians of the steps in between {recollected.mean():.2f}, a change of "
        f"{tables.estimate(change['mean'], change['ci_low'], change['ci_high'])}.{shown}"
    )


def figure(arm: Arm) -> plt.Figure:
    """Price against the bytes that must be kept; hollow where some seed never forgets, × what is measured."""
    there = [name for name in (*STATES, *LEDGER, *BESIDE) if name in methods(arm)]
    found, taught = summary(arm).loc[there], side_by_side.thrown_away(arm)
    stored = kept(arm)[there]
    least = stored[stored > 0].min() / 4  # where those stand that keep nothing but texts
    found = found.assign(bytes=stored.clip(lower=least), measured=measured(found))
    drawn, ax = figures.figure(4.5)
    ax.set_title(tables.short(arm.name), fontsize=9)
    ax.set_xscale("log")
    for row in found.itertuples():
        colour = FAMILIES[row.family]
        face = colour if row.reached == row.seeds else "white"
        ax.plot(row.bytes, row.price, "o", color=colour, mfc=face, ms=6.5)
        ax.plot(row.bytes, row.measured, "x", color=colour, ms=5)
        ax.plot([row.bytes] * 2, [row.measured, row.price], color=colour, lw=0.8, ls=":", zorder=0)
    ax.axhline(taught, color=figures.MUTED, lw=1, ls=(0, (4, 3)), zorder=0)
    note = "fine-tuning thrown away"
    figures.note(ax, note, (1, taught), ax.get_yaxis_transform(), (0, 14), ha="right")
    ax.set_xlim(least / 2, 3 * found["bytes"].max())
    lowest = found[["price", "measured"]].min().min()
    ax.set_ylim(min(-0.03 * taught, lowest - 0.04 * taught), 1.18 * taught)
    sizes = 10.0 ** np.arange(np.ceil(np.log10(2 * least)), np.log10(found["bytes"].max()) + 0.5)
    ax.set_xticks([least, *sizes], ["texts\nonly", *map(tables.bytes_of, sizes)])
    ax.minorticks_off()
    ax.set_xlabel("kept from training, for anybody who may ask")
    ax.set_ylabel("what others have lost where\nthe person is forgotten, nats")
    family_legend(drawn, set(found["family"]), "not in every seed")
    named = found.set_index("title")
    places = dict(zip(named.index, zip(named["bytes"], named["price"], strict=True), strict=True))
    figures.label_points(ax, places, {title: FAMILIES[f] for title, f in named["family"].items()})
    return drawn
