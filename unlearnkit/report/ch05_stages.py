"""Chapter 05: whether what unlearning does depends on when the target was learnt."""

import matplotlib.pyplot as plt
import pandas as pd

from unlearnkit.claims import variants as registered
from unlearnkit.report import figures, tables, variants
from unlearnkit.report.readings import path_table, reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.variants import ORDERS

WORDS = {"first": "learnt first", "spread": "throughout", "last": "last"}
METHODS = (*registered.STORED.values(), registered.FRESH)


def of_run(run: Run) -> dict[str, Arm] | None:
    """The variant's arms by order: first, spread, last; None where the run has none."""
    found = {order: run.variants.get(name) for order, name in ORDERS.items()}
    return found if all(found.values()) else None


def outcomes(arms: dict[str, Arm]) -> pd.DataFrame:
    """A row an order, seed and method: pays (matched forgetting), reached, distance (D_F at 0.5 nats)."""
    parts = []
    for order, arm in arms.items():
        keys = ["seed", "method"]
        there = variants.paid(arm).set_index(keys)[["pays", "reached"]]
        at = reading(arm, "damage", registered.STAGE_DAMAGE).set_index(keys)["oracle_distance"]
        parts.append(there.assign(distance=at, order=order).reset_index())
    return pd.concat(parts, ignore_index=True)


def ranges(found: pd.DataFrame, value: str = "pays") -> pd.DataFrame:
    """The highest less the lowest outcome over the orders: seeds x methods, of seeds that have all three."""
    told = {"values": value, "index": "seed", "columns": "method"}
    count, low, high = (found.pivot_table(**told, aggfunc=how) for how in ("count", "min", "max"))
    return (high - low).where(count == found["order"].nunique()).dropna()


def contrasts(found: pd.DataFrame, value: str = "pays") -> dict[str, pd.Series]:
    """By registered claim: fresh gradients' range over the orders less the stored ones', nats, by seed."""
    wide = ranges(found, value)
    return {
        claim: wide[registered.FRESH] - wide[method]
        for claim, method in registered.STORED.items()
        if method in wide
    }


def answers(arms: dict[str, Arm], value: str = "pays") -> pd.DataFrame:
    """The registered claims on the order, with verdicts in words; of D_F instead, with value="distance"."""
    found = contrasts(outcomes(arms), value)
    return variants.answers(variants.judged(arms["spread"], found, registered.STAGES))


def by_orders(arms: dict[str, Arm]) -> pd.DataFrame:
    """A row a claim: its contrast over the three orders, and, beside the claim, over the last two alone.

    Learnt first, the target has faded before any unlearning, which shortens every path there.
    """
    found, rows = outcomes(arms), []
    every, late = contrasts(found), contrasts(found[found["order"] != "first"])
    for claim, values in every.items():
        told = tables.NAMES[registered.STORED[claim]]
        rows.append((claim, told, *(tables.mean_and_range(v) for v in (values, late[claim]))))
    return tables.frame(rows, "claim", "stored", "over all three orders", "throughout and last alone")


def starts(arms: dict[str, Arm]) -> pd.DataFrame:
    """The fine-tuned models, a row an order: D_F and memorised share of the target, mean [95 %]."""
    parts = []
    for order, arm in arms.items():
        begin = path_table(arm, methods=()).query("method == 'finetuned'")
        parts.append(begin.assign(order=WORDS[order]))
    titles = {"exact_memorisation": "answers known", "oracle_distance": "distance to the oracle"}
    titles |= {"retain_nll": "others' NLL"}
    told = tables.over_seeds(pd.concat(parts), "order", titles)
    return told.rename(columns={"order": "the person's facts were"})


def stage_table(arms: dict[str, Arm]) -> pd.DataFrame:
    """A row a method: what it pays by order, its range over these, and the range of D_F at 0.5 nats."""
    found, rows = outcomes(arms), []
    paid = {order: variants.costs(arm).set_index("method") for order, arm in arms.items()}
    spread, far = ranges(found), ranges(found, "distance")
    for method in METHODS:
        row = {"update": tables.NAMES[method]}
        row |= {WORDS[order]: f"{table.loc[method, 'pays']:.2f}" for order, table in paid.items()}
        row["range"] = tables.mean_and_range(spread[method])
        row["range of the distance at 0.5"] = tables.mean_and_range(far[method])
        rows.append(row)
    return pd.DataFrame(rows)


def figure(arms: dict[str, Arm]) -> plt.Figure:
    """A panel a method: what it pays in each order, a line a seed; hollow where it never forgets as much."""
    found, orders = outcomes(arms), list(arms)
    drawn, axes = figures.figure(2.9, 1, len(METHODS), sharey=True)
    for ax, method in zip(axes, METHODS, strict=True):
        colour = figures.COLOURS[method]
        ax.axhline(0, color=figures.MUTED, lw=0.8)
        for _, one in found[found["method"] == method].groupby("seed"):
            one = one.set_index("order").reindex(orders)
            ax.plot(range(len(orders)), one["pays"], color=colour, lw=0.8, alpha=0.5)
            faces = [colour if reached is True else "white" for reached in one["reached"].astype(object)]
            ax.scatter(range(len(orders)), one["pays"], s=16, c=faces, edgecolors=colour, zorder=3)
        mean = found[found["method"] == method].groupby("order")["pays"].mean().reindex(orders)
        ax.plot(range(len(orders)), mean, color=colour, lw=2.5)
        ax.set_title(figures.LABELS[method], fontsize=9)
        ax.set_xticks(range(len(orders)), ["first", "through-\nout", "last"], color=figures.INK)
        ax.set_xlim(-0.4, len(orders) - 0.6)
    axes[0].set_ylabel("others lose until the\nperson is forgotten (nats)")
    drawn.supxlabel("when the person was learnt", fontsize=10)
    return drawn
