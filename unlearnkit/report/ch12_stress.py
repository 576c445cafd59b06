"""Chapter 12: what brings facts back, and what many requests do: curves behind chapter 11, and sequences."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit.report import ch11_verification as grid
from unlearnkit.report import figures, tables
from unlearnkit.report.ch09_figures import FAMILIES
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import judged, sequence
from unlearnkit.study.config import VERIFIED
from unlearnkit.unlearning import METHODS

FIRST = "oracle 1"  # the oracle that others are held against
TAUGHT = {"half": "half of the person's facts", "others": "facts that nobody knew"}
ASKED = {"paraphrase": "other words", "two-hop": "two hops", "alias": "alias", "beside": "beside another"}


# -- relearning, rounding, sampling, other ways to ask -----------------------------------------------------


def curves(arm: Arm, taught: str = "half") -> pd.DataFrame:
    """Mean NLL of the facts held back, a row a model (the first oracle's FIRST), a column a step."""
    return _means(arm, f"relearnt_{taught}", "step")


def _means(arm: Arm, metric: str, by: str) -> pd.DataFrame:
    """Mean of a metric, a row a model, those that must pass or fail and the first oracle among them."""
    known = grid.evidence(arm).worlds
    found = {FIRST: known.oracle()} | {m: known.of(m) for m in grid.judgements(arm)}
    rows = {name: part[part["metric"] == metric] for name, part in found.items()}
    return pd.DataFrame({name: part.groupby(by)["value"].mean() for name, part in rows.items()}).T


def areas(arm: Arm) -> pd.DataFrame:
    """Between each model's relearning curve and the first oracle's, nats x steps, a column a kind of TAUGHT.

    Below 0 a model learns the facts held back sooner than that oracle.
    """
    found = {taught: curves(arm, taught) for taught in TAUGHT}
    apart = {taught: lines - lines.loc[FIRST] for taught, lines in found.items()}
    return pd.DataFrame({t: pd.Series(np.trapezoid(a, a.columns), a.index) for t, a in apart.items()})


def relearning(arm: Arm) -> plt.Figure:
    """Relearning curves, a panel for each kind of facts that is taught."""
    drawn, axes = figures.figure(4.2, columns=2, sharey=True)
    for ax, (taught, words) in zip(axes, TAUGHT.items(), strict=True):
        found = curves(arm, taught)
        _lines(ax, found, every=True)
        ax.set_title(f"taught: {words}", fontsize=9, loc="left")
        ax.set_xlabel("optimizer steps")
        ax.set_xticks(VERIFIED["relearn"])
    axes[0].set_ylabel("NLL of the facts held back, nats")
    return drawn


def _lines(ax: plt.Axes, found: pd.DataFrame, every: bool = False) -> None:
    """A line a model: the oracles (the second dashed), doing nothing, and thin the methods, in the colours of
    their families. Named are the outermost two methods, or every one."""
    methods = [name for name in found.index if name not in (FIRST, *grid.MUST)]
    colours = {name: FAMILIES[METHODS[name].family] for name in methods}
    for name, colour in colours.items():
        ax.plot(found.columns, found.loc[name], color=colour, lw=1, alpha=0.8)
    for name, colour in {FIRST: "oracle", judged.ORACLE: "oracle", "noop": "finetuned"}.items():
        dashes = (0, (4, 2)) if name == judged.ORACLE else "-"
        ax.plot(found.columns, found.loc[name], color=figures.COLOURS[colour], lw=1.8, ls=dashes)
    ends = found[found.columns[-1]].rename({FIRST: "oracles"})
    extra = {"noop": figures.INK, "oracles": figures.COLOURS["oracle"]}
    apart = ends[methods]
    outermost = {apart.idxmax(), apart.idxmin()} if methods else ()
    named = {name: colour for name, colour in colours.items() if every or name in outermost}
    where = {grid.title(n) if n != "oracles" else n: (found.columns[-1], ends[n]) for n in extra | named}
    figures.label_ends(ax, where, **dict(zip(where, (extra | named).values(), strict=True)))


def lens(arm: Arm) -> pd.DataFrame:
    """Mean NLL of the forget facts read off each block's output: a row a model, a column a block, from 1."""
    found = _means(arm, "nll_lens", "split")
    found.columns = [int(name.removeprefix("block.")) + 1 for name in found]
    return found.sort_index(axis=1)


def inside(arm: Arm) -> plt.Figure:
    """What is read off each block: where a method's line falls below the oracles', the block knows more."""
    drawn, ax = figures.figure(3.2)
    _lines(ax, lens(arm))
    ax.set(xlabel="block whose output is read", ylabel="NLL of the forget facts, nats")
    return drawn


def hidden(arm: Arm) -> pd.DataFrame:
    """What rounding gives back and what sampling says, a row a model, in words: means over seeds [95 %]."""
    rows = []
    for method in grid.judgements(arm):
        rounded, sampled = (
            judged.numbers(grid.evidence(arm), method, row)[0] for row in ("quantisation", "leakage")
        )
        told = {f"back at {column}": _mean(rounded[column]) for column in rounded}
        told |= {f"leak@{k}, less the oracle's": _mean(sampled[k]) for k in sampled}
        rows.append({"model": grid.title(method)} | told)
    return pd.DataFrame(rows)


def asked_otherwise(arm: Arm) -> pd.DataFrame:
    """NLL of the forget facts by other ways of asking, less the oracle's, and of each fact's worst way."""
    rows = []
    for method, apart in _asked(arm).items():
        told = {title: _mean(apart[way].dropna()) for way, title in (ASKED | {"worst": "worst way"}).items()}
        rows.append({"model": grid.title(method)} | told)
    return pd.DataFrame(rows)


def worst_way(arm: Arm) -> pd.Series:
    """By model, the mean over seeds of the fact's worst way, as `asked_otherwise` has it."""
    return pd.Series({method: apart["worst"].mean() for method, apart in _asked(arm).items()})


@cache
def _asked(arm: Arm) -> dict[str, pd.DataFrame]:
    """By model, NLL of the forget facts less the oracle's: a row a seed, a column a way of asking."""
    known = grid.evidence(arm).worlds
    level = _by_way(known.oracle())
    return {method: _by_way(known.of(method)) - level for method in grid.judgements(arm)}


def _by_way(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["metric"] == "nll_asked"].pivot_table("value", "seed", "split")


def _mean(values: pd.Series) -> str:
    return tables.mean_and_range(values) if len(values) and values.notna().all() else "–"


# -- requests in sequence ---------------------------------------------------------------------------------


def of_sequence(run: Run) -> Arm | None:
    """The arm of requests in sequence, where the run has one."""
    return run.variants.get(sequence.SEQUENCE)


@cache
def sequences(arm: Arm) -> pd.DataFrame:
    """Where each method stands after so many requests: method, mode, asked, seed, withdrawn, reached.

    forgotten: mean NLL of everybody asked for, less the oracle's that never saw them; retained and text: what
    the others' facts and running text have lost. Nats.
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
        told["forgotten"] = (own.reindex(level.index) - level).mean() if gone else np.nan
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
        "retained": "others lose",
        "text": "running text rises",
    }
    by = ["method", "mode", "asked"]
    told = tables.over_seeds(found, by, titles)
    told["reached"] = [f"{p.sum()} of {len(p)}" for _, p in found.groupby(by, sort=False)["reached"]]
    told["method"] = [METHODS[name].title for name in told["method"]]
    return told.rename(columns={"asked": "requests", "mode": "how"})


def withdrawn(arm: Arm) -> pd.DataFrame:
    """What the second person's NLL is before any request, after theirs, and once it is taken back."""
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
    means = [
        rows[part & rows["mode"].isin(sequence.MODES[1:])]
        .groupby(["method", "mode", "seed"], sort=False)["value"]
        .mean()
        .rename(name)
        for name, part in parts.items()
    ]
    table = pd.concat(means, axis=1).reset_index()
    told = tables.over_seeds(table, ["method", "mode"], {name: name for name in parts})
    told["method"] = [METHODS[name].title for name in told["method"]]
    return told.rename(columns={"mode": "how"})
