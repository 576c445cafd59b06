"""Chapter 09's figures: what each method gets and what it costs, and every price with its interval."""

from collections.abc import Callable, Collection, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.lines import Line2D

from unlearnkit.claims.methods import PAPER, PRINCIPAL, SHARE
from unlearnkit.report import figures, side_by_side, tables
from unlearnkit.report.ch09_imputed import measured
from unlearnkit.report.ch09_methods import model
from unlearnkit.report.oracles import oracle_floor
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import reading, summary

# Tol's muted palette and what it lacks, a colour a family; the paper's as everywhere.
FAMILIES = {
    "paper": figures.COLOURS["first_epoch"],
    "replay": "#882255",
    "ascent": "#CC6677",
    "preference": "#DDAA33",
    "distillation": "#999933",
    "representation": "#117733",
    "reward": "#44AA99",
    "weights": "#33A0E0",
    "retraining": "#332288",
    "prompt": "#AA4499",
    "own": figures.INK,
    "control": "#A0A0A0",
}
CHEAPEST = 6  # methods that are named in the first figure beside its front and the principal ones
SECONDS = (1, 10, 100)  # in the legend of sizes
TICKS = (0, 0.05, 0.2, 0.5, 1, 2, 3, 4, 6, 8)  # of the square-root price axis
LEFT, RIGHT = -0.05, 1.15  # of the price axis, as shares of what throwing the fine-tuning away costs


def show(arms: Sequence[Arm], draw: Callable[[Arm], plt.Figure], name: str) -> None:
    """Display the figure of every arm; saved as NAME, after the first with the model's name added."""
    for arm in arms:
        own = name if arm is arms[0] else f"{name}_{model(arm)}"
        display(figures.save(draw(arm), arm.run, own))


def pareto_points(arm: Arm) -> pd.DataFrame:
    """What the figure draws, a row a method (the index): title, family, reached, lost, distance, seconds,
    measured.

    Of a method that has forgotten in most of its seeds: its price and D_F there. Of another: its closest
    approach, and what others have lost there. `measured` is what they have lost in fact where a price is
    charged for seeds without matched forgetting (`ch09_imputed`); NaN where none is.
    """
    found = summary(arm)
    there = 2 * found["reached"] > found["seeds"]
    nearest = reading(arm, "closest").groupby("method")["seconds"].mean().reindex(found.index)
    return pd.DataFrame(
        {
            "title": found["title"],
            "family": found["family"],
            "reached": there,
            "lost": found["price"].where(there, found["closest_damage"]),
            "distance": found["distance"].where(there, found["closest"]),
            "seconds": found["seconds"].where(there, nearest),
            "measured": measured(found).where(there),
        }
    )


def front(points: pd.DataFrame) -> list[str]:
    """The methods that none beats in both what others lose and the distance, cheapest first."""
    ordered = points.sort_values(["lost", "distance"], kind="stable")
    before = ordered["distance"].cummin().shift(fill_value=np.inf)
    return list(ordered.index[ordered["distance"] < before])


def pareto(arm: Arm) -> plt.Figure:
    """Distance against what others lose; size is seconds, colour the family; hollow ones never forget."""
    points, taught = pareto_points(arm).dropna(subset=["lost", "distance"]), side_by_side.thrown_away(arm)
    drawn, ax = figures.figure(6.2)
    ax.set_title(tables.short(arm.name), fontsize=9, loc="left")
    ax.axvline(taught, color=figures.MUTED, lw=1, ls=(0, (4, 3)), zorder=0)
    if floor := oracle_floor(arm):
        ax.axhspan(0, floor, color=figures.COLOURS["oracle"], alpha=0.15, lw=0, zorder=0)
        figures.note(ax, "another oracle", (taught, floor), "data", (-4, 2), ha="right")
    start = float(np.mean([path.facts.iloc[0].sub(path.world.target).abs().mean() for path in starts(arm)]))
    ax.plot(0, start, "*", color=figures.INK, ms=10)
    others = _marks(ax, points)
    _root_axis(ax, [-0.01 * taught, *points["lost"], 1.03 * max(taught, points["lost"].max())])
    ax.set_ylim(-0.1, 1.12 * start)
    thrown = "fine-tuning\nthrown away"
    figures.note(ax, thrown, (taught, 1), ("data", "axes fraction"), (-4, -20), ha="right")
    ax.set_xlabel("what others have lost, nats a token (square-root scale)")
    ax.set_ylabel("distance to the oracle, nats a token")
    family_legend(drawn, set(points["family"]), "forgets in few seeds: closest")
    sizes = [_mark(f"{s} s", figures.MUTED, figures.MUTED, area(s)) for s in SECONDS]
    ax.legend(handles=sizes, loc="upper center", ncols=len(sizes), frameon=False, fontsize=8)
    _names(ax, points, start, others)
    return drawn


def _marks(ax: plt.Axes, points: pd.DataFrame) -> list[tuple[float, float]]:
    """Draw a mark a method and what was measured; the crosses, and places on the lines to them."""
    crossed = []
    for row in points.itertuples():
        colour = FAMILIES[row.family]
        face = colour if row.reached else "white"
        ax.scatter(row.lost, row.distance, s=area(row.seconds), c=face, edgecolors=colour, lw=1.2, alpha=0.85)
        ax.plot([row.measured, row.lost], [row.distance] * 2, color=colour, lw=0.8, ls=":", zorder=0)
        ax.plot(row.measured, row.distance, "x", color=colour, ms=6)
        if row.measured == row.measured:  # NaN where nothing is charged
            crossed += [(x, row.distance) for x in np.linspace(row.measured, row.lost, 15)]
    return crossed


def _root_axis(ax: plt.Axes, lost: Sequence[float]) -> None:
    """A square-root axis on both sides of zero, over all of these: prices below a nat get half of it."""
    functions = (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.square(x))
    ax.set_xscale("function", functions=functions)
    ticks = [tick for tick in TICKS if tick <= max(lost)]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xlim(1.2 * min(lost), max(lost))


def _names(ax: plt.Axes, points: pd.DataFrame, start: float, others: list[tuple[float, float]]) -> None:
    """Name the front, the cheapest and the principal ones, and the start, but on none of the others."""
    there = points[points["reached"]]
    cheapest = there[there["family"] != "control"]["lost"].nsmallest(CHEAPEST).index
    named = points[points.index.isin([*front(there), *cheapest, *PRINCIPAL, "retrain"])]
    named = named[named["distance"] < ax.get_ylim()[1]].set_index("title")
    places = dict(zip(named.index, zip(named["lost"], named["distance"], strict=True), strict=True))
    colours = {title: FAMILIES[family] for title, family in named["family"].items()}
    rest = points[~points["title"].isin(named.index)]
    figures.label_points(
        ax,
        places | {"nothing done": (0.0, start)},
        colours | {"nothing done": figures.INK},
        [*others, *zip(rest["lost"], rest["distance"], strict=True)],
    )


def starts(arm: Arm) -> Sequence[side_by_side.Path]:
    """A path for each seed, whose first place is theta_T."""
    return {seed: path for (_, seed), path in side_by_side.paths(arm).items()}.values()


def area(seconds: float) -> float:
    """Of a mark, in square points: a step in the radius for each power of ten."""
    return (4 + 2.2 * np.log10(1 + np.nan_to_num(seconds))) ** 2


def _mark(label: str, colour: str, face: str, size: float = area(0)) -> Line2D:
    given = {"ls": "", "marker": "o", "ms": size**0.5, "mec": colour, "mfc": face}
    return Line2D([], [], label=label, **given)


def family_legend(drawn: plt.Figure, families: Collection[str], hollow: str) -> None:
    """Below the figure: a colour a family, what is hollow, and what a cross is."""
    told = [_mark(name, FAMILIES[name], FAMILIES[name]) for name in FAMILIES if name in families]
    told.append(_mark(hollow, figures.MUTED, "white"))
    cross = {"ls": "", "marker": "x", "ms": 6, "color": figures.MUTED}
    told.append(Line2D([], [], label="measured, nothing charged", **cross))
    drawn.legend(
        handles=told, loc="outside lower center", ncols=5, frameon=False, fontsize=8, handletextpad=0.3
    )


def price_rows(arm: Arm) -> plt.Figure:
    """Every price with its 95 % interval, the cheapest first; lines: the bar, and all that was taught.

    A cross is what was measured where the price counts seeds without matched forgetting.
    """
    found = summary(arm).sort_values("price", kind="stable")
    found = found.assign(measured=measured(found))
    taught = side_by_side.thrown_away(arm)
    drawn, ax = figures.figure(1.7 + 0.215 * len(found))
    ax.set_title(tables.short(arm.name), fontsize=9, loc="left", pad=16)
    for y, row in enumerate(found.itertuples()):
        colour = FAMILIES[row.family]
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.6, alpha=0.6, solid_capstyle="butt")
        face = colour if row.reached == row.seeds else "white"
        ax.plot(row.price, y, "s" if row.control else "o", color=colour, mfc=face, ms=5.5)
        ax.plot(row.measured, y, "x", color=colour, ms=5)
    where = ("data", "axes fraction")
    if PAPER in found.index:
        bar = SHARE * found.loc[PAPER, "price"]
        ax.axvline(bar, color=FAMILIES["paper"], lw=1, zorder=0)
        figures.note(ax, "a third of the first epoch", (bar, 1), where, (0, 3), ha="center")
    ax.axvline(taught, color=figures.MUTED, lw=1, ls=(0, (4, 3)), zorder=0)
    figures.note(ax, "fine-tuning thrown away", (taught, 1), where, (0, 3), ha="right")
    ax.set_yticks(range(len(found)), found["title"], fontsize=8.5, color=figures.INK)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.set_xlim(min(LEFT * taught, 1.1 * found["price"].min()), RIGHT * taught)
    ax.set_xlabel("what others have lost where the person is forgotten, nats a token")
    family_legend(drawn, set(found["family"]), "not in every seed")
    return drawn
