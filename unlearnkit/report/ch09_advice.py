"""Chapter 09's advice: which method to use, by what a user still has of the training.

The rule is `claims.methods`'s.
"""

import numpy as np
import pandas as pd

from unlearnkit.claims.methods import HAVE, MARGIN, NEVER_ADVISED, PAPER
from unlearnkit.report import contrasts, tables
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import methods, needed, prices, summary
from unlearnkit.unlearning import METHODS


def advice(arm: Arm) -> pd.DataFrame:
    """By what a user still has, the method to use: a row for each of HAVE.

    Columns: have, use (a method; "" where none that may be advised ever forgets), alike (those as good, the
    one to use among them, cheapest first), n (seeds that all candidates walked, over which means are taken).
    """
    found = []
    for have, enough in HAVE.items():
        able = [m for m in methods(arm) if set(needed(arm, m)) <= enough and m not in NEVER_ADVISED]
        able = [m for m in able if METHODS[m].family != "control" and summary(arm).loc[m, "reached"]]
        chosen = _as_good(prices(arm)[able]) if able else []
        use = summary(arm).loc[chosen, "seconds"].idxmin() if chosen else ""
        found.append((have, use, tuple(chosen), len(prices(arm)[able].dropna()) if able else 0))
    return tables.frame(found, "have", "use", "alike", "n")


def _as_good(paid: pd.DataFrame) -> list[str]:
    """The cheapest on the mean over seeds that all walked, and those shown to cost less than MARGIN more."""
    order = paid.dropna().mean().sort_values(kind="stable").index
    best = order[0]
    more = contrasts.family({m: (paid[m], paid[best]) for m in order[1:]}).set_index("against")
    less = more["ci_high"].where(more["ci_high"].notna() | (more["n"] < 2), more["difference"])  # no variance
    return [best, *less.index[less < MARGIN]]


def named(arm: Arm, name: str) -> str:
    """A method's title, and whether it is dearer than what it would replace."""
    found = summary(arm)["price"]
    is_dearer = found[name] > found.get(PAPER, np.inf)
    return METHODS[name].title + (" (dearer than the paper's)" if is_dearer else "")


def advice_table(arm: Arm) -> pd.DataFrame:
    """`advice` in words."""
    found, told = summary(arm), []
    for row in advice(arm).itertuples():
        if not row.use:
            told.append((row.have, "none forgets", "–", "–", "–", "–"))
            continue
        one = found.loc[row.use]
        price = tables.estimate(one["price"], one["ci_low"], one["ci_high"], ".2f")
        ties = ", ".join(METHODS[m].title for m in row.alike if m != row.use) or "–"
        gets = f"{one['reached']} of {one['seeds']}"
        use, others = named(arm, row.use), "others" in METHODS[row.use].reads
        use += " (reads everybody's records)" if others else ""
        told.append((row.have, use, price, gets, tables.number(one["seconds"], ".1f"), ties))
    return tables.frame(
        told, "if you have", "use", "others lose [95 %]", "forgets on the mean in", "seconds", "as good"
    )
