"""Chapter 09 on other models: is what is cheap on one of them cheap on the others?"""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from unlearnkit.report import figures, tables
from unlearnkit.report.ch09_methods import model, seeds
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import methods, summary
from unlearnkit.unlearning import METHODS

MARKS = (("o", figures.INK), ("s", "#CC6677"), ("^", "#33A0E0"), ("D", "#999933"))  # a model's, in turn


def shares(arms: Sequence[Arm]) -> pd.DataFrame:
    """Each method's price by model, as a share of all that there was to lose (`summary`); cheapest first.

    The order is the first arm's; a method that an arm did not walk has no number there.
    """
    found = pd.DataFrame({model(arm): summary(arm)["share"] for arm in arms}).reindex(methods(arms[0]))
    return found.sort_values(model(arms[0]), kind="stable")


def note(arms: Sequence[Arm]) -> str:
    """What stands below `table`."""
    of = ", ".join(f"{seeds(arm)} of {model(arm)}" for arm in arms)
    ranks = shares(arms).iloc[:, 1:].corr("spearman").to_numpy()[np.triu_indices(len(arms) - 1, 1)]
    among = f" Among the others ranks correlate by {min(ranks):.2f} or more." if len(ranks) else ""
    return f"Price as a share of all that fine-tuning taught the retain facts; means over {of}.{among}"


def table(arms: Sequence[Arm]) -> pd.DataFrame:
    """`shares` in words; the last row is Spearman's rank correlation with the first arm's order."""
    found = shares(arms)
    told = found.map(lambda share: tables.number(share, ".0%"))
    told.insert(0, "method", [METHODS[m].title for m in found.index])
    ranks = found.corr("spearman").iloc[0].map("{:.2f}".format)
    last = {"method": f"rank correlation with {found.columns[0]}", **ranks}
    return pd.concat([told, pd.DataFrame([last])], ignore_index=True)


def marks(arms: Sequence[Arm]) -> plt.Figure:
    """`shares`, a row a method and a mark a model."""
    found = shares(arms)
    drawn, ax = figures.figure(1.4 + 0.19 * len(found))
    ax.hlines(range(len(found)), found.min(axis=1), found.max(axis=1), color=figures.MUTED, lw=0.7, alpha=0.5)
    for (name, share), (shape, colour) in zip(found.items(), cycle(MARKS), strict=False):
        ax.plot(share, range(len(found)), shape, color=colour, ms=5, alpha=0.85, label=name)
    ax.set_yticks(range(len(found)), [METHODS[m].title for m in found.index], fontsize=8.5)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel("price, as a share of all that others were taught")
    drawn.legend(loc="outside upper center", ncols=len(found.columns), frameon=False, fontsize=8.5)
    return drawn
