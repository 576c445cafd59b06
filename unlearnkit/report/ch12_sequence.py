"""Chapter 12, requests in sequence: what is left of those asked for, of earlier ones, and of others."""

from functools import cache

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from unlearnkit.claims.methods import PRINCIPAL
from unlearnkit.report import figures, tables
from unlearnkit.report.ch12_stress import look
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import config, plan, sequence
from unlearnkit.unlearning import METHODS

DRAWN = {"forgotten": "those asked for: NLL\nless the oracle's, nats", "retained": "others lose, nats"}


def of_run(run: Run) -> Arm | None:
    """The arm of requests in sequence, where the run has one."""
    return run.variants.get(sequence.SEQUENCE)


def planned() -> Markdown:
    """In how many worlds which methods are to be walked, beside the grid of methods and tests, and why."""
    full, setting = config.PROFILES[config.REGISTERED], sequence.setting(0)
    recipe = plan.recipe(config.TINY, "adamw")
    arm = plan.Arm(config.TINY, "adamw", recipe, (setting,), False, sequence.SEQUENCE)
    minutes = sum(cell.estimate_s for cell in sequence.cells(arm, setting)) / 60
    titles = ", ".join(METHODS[name].title for name in config.SEQUENCE_METHODS)
    return Markdown(
        f"The study plans sequences for {len(config.SEQUENCE_METHODS)} methods ({titles}) in "
        f"{full['seeds_sequence']} worlds, and not for the {len(PRINCIPAL)} methods and "
        f"{full['seeds_verified']} worlds of notebook 11's grid: those of one world take an estimated "
        f"{minutes:.0f} minutes."
    )


@cache
def sequences(arm: Arm) -> pd.DataFrame:
    """Where each method stands after so many requests: method, mode, asked, seed, withdrawn, reached.

    forgotten: mean NLL of everybody asked for, less the oracle's that never saw them; earlier: the same of
    all but the newest, which tells what later requests do to earlier ones (NaN after the first); retained
    and text: what the others' facts and running text have lost. Nats.
    """
    rows = arm.observations("sequence")
    rows = rows[rows["metric"] == "nll"]
    oracles = arm.observations("sequence_oracle")
    oracles = oracles[oracles["metric"] == "nll"]
    keys = ["method", "mode", "seed", "asked", "withdrawn"]
    persons = {s.seed: [name for name, _ in s.requests] for s in arm.settings}
    rows = rows.assign(withdrawn=rows.get("withdrawn", pd.Series(index=rows.index)).eq(True))
    found = []
    for key, here in rows.groupby(keys, sort=False):
        told = dict(zip(keys, key, strict=True))
        gone = persons[told["seed"]][: told["asked"]]
        level = oracles[(oracles["seed"] == told["seed"]) & (oracles["asked"] == told["asked"])]
        level = level[level["person"].isin(gone)].groupby("person")["value"].mean()
        own = here[here["split"] == "person"].set_index("person")["value"]
        apart = own.reindex(level.index) - level
        told |= {"forgotten": apart.mean(), "earlier": apart.reindex(gone[:-1]).mean()}
        told |= {"retained": _of(here, "retain"), "text": _of(here, "utility")}
        found.append(told | {"reached": here["reached"].eq(True).all()})
    table = pd.DataFrame(found)
    start = table[table["asked"] == 0].set_index(["method", "mode", "seed"])[["retained", "text"]]
    back = start.reindex(pd.MultiIndex.from_frame(table[["method", "mode", "seed"]]))
    return table.assign(**{c: table[c] - back[c].to_numpy() for c in ("retained", "text")})


def _of(rows: pd.DataFrame, split: str) -> float:
    return rows.loc[rows["split"] == split, "value"].mean()


def sequence_table(arm: Arm) -> pd.DataFrame:
    """`sequences` in words, means over seeds [95 %]."""
    found = sequences(arm)
    found = found[(found["asked"] > 0) & ~found["withdrawn"]]
    titles = {
        "forgotten": "those asked for, less the oracle's",
        "earlier": "asked for earlier, less the oracle's",
        "retained": "others lose",
        "text": "running text rises",
    }
    by = ["method", "mode", "asked"]
    told = tables.over_seeds(found, by, titles)
    told["reached"] = [f"{p.sum()} of {len(p)}" for _, p in found.groupby(by, sort=False)["reached"]]
    told["method"] = [METHODS[name].title for name in told["method"]]
    return told.rename(columns={"asked": "requests", "mode": "how"})


def means(arm: Arm) -> pd.DataFrame:
    """Means over seeds of the measures DRAWN, by mode, method and how many requests."""
    found = sequences(arm)
    found = found[(found["asked"] > 0) & ~found["withdrawn"]]
    return found.groupby(["mode", "method", "asked"])[list(DRAWN)].mean()


def drift(arm: Arm) -> plt.Figure:
    """Means of `sequences` over requests: a column a mode, a row a measure, a line a method."""
    found = means(arm)
    drawn, axes = figures.figure(4.4, len(DRAWN), len(sequence.MODES), sharex=True, sharey="row")
    for mode, column in zip(sequence.MODES, axes.T, strict=True):
        for measure, ax in zip(DRAWN, column, strict=True):
            lines = {m: found.loc[mode, m][measure] for m in found.index.unique("method")}
            for method, line in lines.items():
                ax.plot(line.index, line, marker="o", ms=3, **look(method) | {"lw": 1.5})
            ax.axhline(0, color=figures.MUTED, lw=1, zorder=0)
            ax.set_xticks(line.index)
        column[0].set_title(mode, fontsize=9, loc="left")
        column[-1].set_xlabel("requests")
    for label, ax in zip(DRAWN.values(), axes[:, 0], strict=True):
        ax.set_ylabel(label)
    ends = {METHODS[m].title: (line.index[-1], line.iloc[-1]) for m, line in lines.items()}
    figures.label_ends(axes[-1, -1], ends, **{METHODS[m].title: look(m)["color"] for m in lines})
    return drawn


def taken_back(arm: Arm) -> pd.DataFrame:
    """What the second person's NLL is before any request, after theirs, and once it is taken back.

    A row a method, mode (one that carries on) and seed; columns at first, forgotten, taken back, in nats.
    """
    rows = arm.observations("sequence")
    rows = rows[(rows["metric"] == "nll") & (rows["split"] == "person")]
    second = {s.seed: s.requests[1][0] for s in arm.settings}
    rows = rows[rows["person"] == rows["seed"].map(second)]
    back = rows.get("withdrawn", pd.Series(index=rows.index)).eq(True)
    last = rows.loc[back, "asked"].unique()
    parts = {
        "at first": rows["asked"] == 0,
        "forgotten": rows["asked"].isin(last) & ~back,
        "taken back": back,
    }
    levels = [
        rows[part & rows["mode"].isin(sequence.MODES[1:])]
        .groupby(["method", "mode", "seed"], sort=False)["value"]
        .mean()
        .rename(name)
        for name, part in parts.items()
    ]
    return pd.concat(levels, axis=1).reset_index()


def withdrawn(arm: Arm) -> pd.DataFrame:
    """`taken_back` in words, means over seeds [95 %]."""
    table = taken_back(arm)
    told = tables.over_seeds(table, ["method", "mode"], {c: c for c in table.columns[3:]})
    told["method"] = [METHODS[name].title for name in told["method"]]
    return told.rename(columns={"mode": "how"})
