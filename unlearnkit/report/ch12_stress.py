"""Chapter 12: what brings facts back: curves and numbers behind chapter 11."""

from functools import cache

import matplotlib.pyplot as plt
import pandas as pd

from unlearnkit.report import ch11_verification as grid
from unlearnkit.report import contrasts, figures, tables
from unlearnkit.report.ch09_figures import FAMILIES
from unlearnkit.report.run import Arm
from unlearnkit.study import judged, judged_on
from unlearnkit.study.config import VERIFIED
from unlearnkit.study.verified import IMITATOR
from unlearnkit.unlearning import METHODS

WANTED = grid.WANTED | {
    "worlds of requests in sequence": "seeds_sequence",
    "worlds of other data": "seeds_diverse",
    "worlds of authors": "seeds_authors",
}
FIRST = "oracle 1"  # the oracle that others are held against
TAUGHT = {"half": "half of the person's facts", "others": "facts that nobody knew"}
ASKED = {"paraphrase": "other words", "two-hop": "two hops", "alias": "alias", "beside": "beside another"}


# -- relearning, rounding, sampling, other ways to ask -----------------------------------------------------


def curves(arm: Arm, taught: str = "half") -> pd.DataFrame:
    """Mean NLL of the facts held back, a row a model (the first oracle's FIRST), a column a step."""
    return _means(arm, f"relearnt_{taught}", "step")


def _means(arm: Arm, metric: str, by: str) -> pd.DataFrame:
    """Mean of a metric, a row a model."""
    rows = {name: part[part["metric"] == metric] for name, part in _models(arm).items()}
    return pd.DataFrame({name: part.groupby(by)["value"].mean() for name, part in rows.items()}).T


def _models(arm: Arm) -> dict[str, pd.DataFrame]:
    """Rows by model: the first oracle, those that must pass or fail, and the methods."""
    known = grid.evidence(arm).worlds
    return {FIRST: known.oracle()} | {m: known.of(m) for m in grid.judgements(arm)}


@cache
def relearnt(arm: Arm) -> pd.DataFrame:
    """What teaching brings back, a row a model and seed.

    back: nats by which the facts held back become likelier while half of the facts are taught. By each kind
    of TAUGHT, the area between the model's curve and that of the first oracle of the same seed, nats x steps:
    below 0 the model learns the facts held back sooner than that oracle, which has no area itself.
    """
    models, found = _models(arm), []
    for name, rows in models.items():
        half = judged_on.curves(rows)
        told = {"back": half.iloc[:, 0] - half.iloc[:, -1]}
        told |= {t: judged_on.area(rows, models[FIRST], t) for t in TAUGHT if name != FIRST}
        found.append(pd.DataFrame(told).assign(model=name))
    return pd.concat(found).rename_axis("seed").reset_index()


def relearning_table(arm: Arm) -> pd.DataFrame:
    """`relearnt` in words, a row a model: means over seeds [95 %], and over how many."""
    found = relearnt(arm)
    titles = {"back": "nats that come back"} | {t: f"area less the oracle's, {t}" for t in TAUGHT}
    told = tables.over_seeds(found, "model", titles)
    told["seeds"] = found.groupby("model", sort=False).size().to_numpy()
    return told.assign(model=["the oracle" if m == FIRST else grid.title(m) for m in told["model"]])


def areas(arm: Arm) -> pd.DataFrame:
    """The area where half of the facts are taught, of every model but the first oracle, over its seeds.

    Columns n, mean, ci_low and ci_high (95 %; NaN of one seed), nats x steps.
    """
    groups = relearnt(arm).dropna(subset="half").groupby("model", sort=False)["half"]
    found = pd.DataFrame({model: contrasts.paired(values) for model, values in groups}).T
    return found.reindex(columns=["n", "mean", "ci_low", "ci_high"])


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
    """A line a model: the oracles (the second dashed), what imitates them (dotted), doing nothing, and thin
    the methods, in the colours of their families. Named are the outermost two methods, or every one."""
    methods = [name for name in found.index if name not in (FIRST, *grid.MUST)]
    colours = {m: FAMILIES[METHODS[m].family if m in METHODS else "replay"] for m in methods}
    for name, colour in colours.items():
        ax.plot(found.columns, found.loc[name], color=colour, lw=1, alpha=0.8)
    green, there = figures.COLOURS["oracle"], IMITATOR in found.index
    dashes = {FIRST: "-", judged.ORACLE: (0, (4, 2)), "noop": "-"} | ({IMITATOR: ":"} if there else {})
    for name, style in dashes.items():
        colour = figures.COLOURS["finetuned"] if name == "noop" else green
        ax.plot(found.columns, found.loc[name], color=colour, lw=1.8, ls=style)
    ends = found[found.columns[-1]].rename({FIRST: "oracles"})
    extra = {"noop": figures.INK, "oracles": green} | ({IMITATOR: green} if there else {})
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


def knows_more(arm: Arm) -> pd.DataFrame:
    """Where each model's line in `inside` runs farthest below the first oracle's, the farthest first.

    From the middle on: the first blocks know no answer yet. Columns: model (the index), block, nats (below 0
    where the block knows more than the oracle's).
    """
    found = lens(arm).pipe(lambda lines: lines.iloc[:, lines.shape[1] // 2 :])
    apart = found.drop(index=FIRST) - found.loc[FIRST]
    table = pd.DataFrame({"block": apart.idxmin(axis=1), "nats": apart.min(axis=1)})
    return table.sort_values("nats")


def knows_more_table(arm: Arm) -> pd.DataFrame:
    """`knows_more` in words."""
    told = knows_more(arm).reset_index(names="model")
    told["nats"] = [f"{value:+.2f}" for value in told["nats"]]
    titles = {"block": "at block", "nats": "less the oracle's, nats"}
    return told.assign(model=[grid.title(m) for m in told["model"]]).rename(columns=titles)


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
