"""Chapter 12: what brings facts back: curves and numbers behind chapter 11."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
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
KNOWN = -0.3  # nats less the oracle's from which on the text says that a block knows more
# Methods of one family have one colour.
DASHES = {
    "kfac_replay": (0, (6, 1.5)),
    "projected_replay": (0, (2, 1)),
    grid.ADVISED: (0, (6, 1.5, 1.5, 1.5)),
    "grad_diff": (0, (6, 1.5)),
}


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
    drawn, axes = figures.figure(5.4, columns=2, sharey=True)
    for ax, (taught, words) in zip(axes, TAUGHT.items(), strict=True):
        ax.set_title(f"taught: {words}", fontsize=9, loc="left")
        ax.set_xlabel("optimizer steps")
        ax.set_xticks(VERIFIED["relearn"])
        _lines(ax, curves(arm, taught))
    axes[0].set_ylabel("NLL of the facts held back, nats")
    return drawn


def _lines(ax: plt.Axes, found: pd.DataFrame) -> None:
    """A named line a model: the oracles (the second dashed), what imitates them (dotted), doing nothing, and
    thin the methods."""
    for name in found.index:
        ax.plot(found.columns, found.loc[name], **look(name))
    ends = found[found.columns[-1]].rename({FIRST: "oracles"}).drop(judged.ORACLE)
    where = {n if n == "oracles" else grid.title(n): (found.columns[-1], end) for n, end in ends.items()}
    colours = [look(FIRST if name == "oracles" else name)["color"] for name in ends.index]
    figures.label_ends(ax, where, gap=10, **dict(zip(where, colours, strict=True)))


def look(name: str) -> dict:
    """How a model's line is drawn in this chapter: a method's in its family's colour, as DASHES has it."""
    green = figures.COLOURS["oracle"]
    ends = {FIRST: (green, "-"), judged.ORACLE: (green, (0, (4, 2))), IMITATOR: (green, ":")}
    ends |= {"noop": (figures.COLOURS["finetuned"], "-")}
    if name in ends:
        return dict(zip(("color", "ls"), ends[name], strict=True)) | {"lw": 1.8}
    family = METHODS[name].family if name in METHODS else "replay"
    return {"color": FAMILIES[family], "ls": DASHES.get(name, "-"), "lw": 1.2}


def lens(arm: Arm) -> pd.DataFrame:
    """Mean NLL of the forget facts read off each block's output: a row a model, a column a block, from 1."""
    found = _means(arm, "nll_lens", "split")
    found.columns = [int(name.removeprefix("block.")) + 1 for name in found]
    return found.sort_index(axis=1)


def _less_the_oracles(arm: Arm) -> pd.DataFrame:
    """`lens` less the first oracle's, from the middle block on: the first ones know no answer yet."""
    found = lens(arm).pipe(lambda lines: lines.iloc[:, lines.shape[1] // 2 :])
    return found.drop(index=FIRST) - found.loc[FIRST]


def inside(arm: Arm) -> plt.Figure:
    """What is read off each block less the oracle's; coloured and named is what falls below KNOWN.

    The model that nothing was done to is left out: far below, it would press all others together.
    """
    drawn, ax = figures.figure(4.4)
    found, lowest = _less_the_oracles(arm).drop(index="noop"), knows_more(arm).drop(index="noop")
    more = lowest[lowest["nats"] < KNOWN]
    for name, line in found.iterrows():
        grey = {"color": figures.FAINT, "lw": 1, "zorder": 1}
        ax.plot(line.index, line, **(look(name) | {"lw": 2} if name in more.index else grey))
    ax.axhline(0, color=figures.COLOURS["oracle"], lw=1.5, zorder=1)
    room = found.columns[0] - 0.25 * (found.shape[1] - 1) - 0.1  # for names of what is lowest at the left
    ax.set(xlabel="block whose output is read", xticks=found.columns, xlim=(room, found.columns[-1] + 0.1))
    figures.note(ax, "the oracle", (room, 0), "data", (4, 3), color=figures.COLOURS["oracle"])
    ax.set_ylabel("NLL of the forget facts\nless the oracle's, nats")
    colours = {grid.title(name): look(name)["color"] for name in more.index}
    along = np.linspace(found.columns[0], found.columns[-1], 80)  # no name is to cover a line
    others = [
        at
        for _, line in found.iterrows()
        for at in zip(along, np.interp(along, line.index, line), strict=True)
    ]
    middle, places = np.mean(found.columns), {}
    for name, block in more["block"].items():  # at the left, where lines lie apart, or at its lowest
        at = found.columns[0] if block < middle else block
        places[grid.title(name)] = (at, found.loc[name, at])
    figures.label_points(ax, places, colours, others)
    return drawn


def knows_more(arm: Arm) -> pd.DataFrame:
    """Where each model's line in `inside` runs farthest below the first oracle's, the farthest first.

    Columns: model (the index), block, nats (below 0 where the block knows more than the oracle's).
    """
    apart = _less_the_oracles(arm)
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
