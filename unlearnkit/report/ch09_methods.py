"""Chapter 09: methods side by side; which is far cheaper than the paper's, and which one would use.

The rules are `claims.methods`'s: the bar and the advice.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from IPython.display import Markdown

from unlearnkit.claims.methods import HAVE, MARGIN, NEVER_ADVISED, SHARE, sees
from unlearnkit.claims.rule import ALPHA
from unlearnkit.report import contrasts, side_by_side, tables
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.side_by_side import methods, prices, reading, summary
from unlearnkit.study.config import DAMAGE_LEVELS
from unlearnkit.unlearning import METHODS

PAPER = "first_epoch"
NOTE = (
    "{arm}; mean over {seeds}, others lose with 95 % t intervals; nats a token. D_F: distance to the oracle."
)


def seeds(arm: Arm) -> str:
    """How many training seeds the methods' paths were walked in: `3 seeds`, or `3 to 8 seeds`."""
    least, most = summary(arm)["seeds"].agg(["min", "max"])
    return tables.count(most, "seed") if least == most else f"{least} to {most} seeds"


def note(arm: Arm) -> str:
    """What stands below a table of methods."""
    return NOTE.format(arm=arm.name, seeds=seeds(arm))


# -- tables -----------------------------------------------------------------------------------------------


def rows(arm: Arm, family: str) -> pd.DataFrame:
    """The methods of one family in words, the few columns that its paragraph is about."""
    return _for_people(arm, summary(arm).query("family == @family"))


def shown(arm: Arm, family: str) -> Markdown:
    """`rows` saved and for display; a line where the arm walked none of the family."""
    found = rows(arm, family)
    if not len(found):
        return Markdown("*This run walked none of these.*")
    return tables.show(found, arm.run, f"methods_{family}", note(arm))


def checked(
    arm: Arm | None, needed: Sequence[str], so: Callable[[pd.DataFrame], bool], text: str
) -> Markdown | None:
    """Nothing where `so(summary)` holds, as the page says in `text`; a warning where it does not.

    Nothing, too, where the run did not walk all of the `needed` methods: then the page says nothing of it.
    """
    if arm is None or not set(needed) <= set(methods(arm)):
        return None
    return contrasts.unless(bool(so(summary(arm))), text)


def every_number(arm: Arm) -> pd.DataFrame:
    """Every method with all that the comparison measured, by price."""
    found = summary(arm).sort_values("price", kind="stable")
    told, stored = _for_people(arm, found), side_by_side.kept(arm).reindex(found.index)
    told.insert(1, "family", found["family"].to_numpy())
    told["running text rises"] = _numbers(found["utility_rise"])
    told[f"other words, NLL (oracle {side_by_side.paraphrases(arm):.2f})"] = _numbers(found["paraphrase_nll"])
    told["peak memory, GB"] = _numbers(found["peak_gb"])
    told["kept from training"] = [tables.bytes_of(b) if b > 0 else "–" for b in stored]
    told["source"] = [METHODS[m].source or "–" for m in found.index]
    return told


def _for_people(arm: Arm, found: pd.DataFrame) -> pd.DataFrame:
    """Rows of `summary` in words."""
    retraining = f"seconds (retraining {tables.number(side_by_side.retraining_seconds(arm), '.0f')})"
    return pd.DataFrame(
        {
            "method": found["title"].to_numpy(),
            "sees again": [sees(METHODS[m].needs) for m in found.index],
            "forgets in": [f"{row.reached} of {row.seeds}" for row in found.itertuples()],
            "others lose [95 %]": tables.estimates(found, "price", ".2f"),
            "D_F there": _numbers(found["distance"]),
            "closest": _numbers(found["closest"]),
            "neighbours lose": _numbers(found["neighbour_damage"]),
            retraining: _numbers(found["seconds"], ".1f"),
        }
    )


def _numbers(values: pd.Series, style: str = ".2f") -> list[str]:
    return [tables.number(value, style) for value in values]


def other_readings(arm: Arm) -> pd.DataFrame:
    """Every method at the other readings: D_F where others have lost so much, and at its least."""
    found = summary(arm).sort_values("closest", kind="stable")
    told = pd.DataFrame({"method": found["title"].to_numpy()})
    for level in DAMAGE_LEVELS:
        there = reading(arm, "damage", level)
        there = (
            there[there["reached"]].groupby("method")["distance"].agg(["mean", "size"]).reindex(found.index)
        )
        told[f"D_F at {level:g} nats"] = _numbers(there["mean"])
        told[f"gets to {level:g} in"] = [
            f"{n:.0f} of {of}" for n, of in zip(there["size"].fillna(0), found["seeds"], strict=True)
        ]
    told["closest D_F"] = _numbers(found["closest"])
    told["others lose there"] = _numbers(found["closest_damage"])
    return told


# -- the bar ----------------------------------------------------------------------------------------------


def rivals(arm: Arm) -> list[str]:
    """The methods that the bar is for: not the paper's, no control, none that retrains on all the rest."""
    out = {PAPER, *NEVER_ADVISED}
    return [m for m in methods(arm) if m not in out and METHODS[m].family != "control"]


@cache
def bar(arm: Arm) -> pd.DataFrame:
    """Each rival's price less SHARE of the first epoch's, paired by seed: a row a method (the index).

    Columns: those of `contrasts.contrast`, and cheaper: whether the interval lies below 0, and p after Holm
    over the rivals is below ALPHA. Without the first epoch's paths no rows.
    """
    paid = prices(arm)
    least = SHARE * paid[PAPER] if PAPER in paid else pd.Series(dtype=float)
    pairs = {m: (paid[m], least) for m in rivals(arm)} if len(least) else {}
    found = contrasts.family(pairs).set_index("against")
    return found.assign(cheaper=(found["ci_high"] < 0) & (found["p_holm"] < ALPHA))


def bar_table(arm: Arm) -> pd.DataFrame:
    """`bar` in words, the methods that lie furthest below it first."""
    found = bar(arm).sort_values("difference", kind="stable")
    return pd.DataFrame(
        {
            "method": [METHODS[m].title for m in found.index],
            "price less a third [95 %]": tables.estimates(found, "difference"),
            "p (Holm)": [tables.p_value(p) for p in found["p_holm"]],
            "seeds": found["n"].to_numpy(),
            "far cheaper": np.where(found["cheaper"], "yes", "not shown"),
        }
    )


def bar_sentence(arm: Arm) -> Markdown:
    """Which methods are shown to be far cheaper than the paper's, or that none is."""
    found, paper = bar(arm), summary(arm).loc[PAPER]
    first = (
        f"On {arm.name} the first epoch costs others {paper['price']:.2f} nats a token of the "
        f"{side_by_side.thrown_away(arm):.2f} that they were taught, and forgets in {paper['reached']} of "
        f"{tables.count(paper['seeds'], 'seed')}."
    )
    names = [METHODS[m].title for m in found.sort_values("difference").index if found.loc[m, "cheaper"]]
    if not names:
        return Markdown(f"{first} **No other method is shown to cost less than a third of that.**")
    told = f"{len(names)} of {tables.count(len(found), 'method')}"
    return Markdown(
        f"{first} **Shown to cost less than a third of that: {told}**, namely {', '.join(names)}."
    )


# -- what would you use -----------------------------------------------------------------------------------


def advice(arm: Arm) -> pd.DataFrame:
    """By what a user still has, the method to use: a row for each of HAVE.

    Columns: have, use (a method; "" where none that may be advised ever forgets), alike (those as good, the
    one to use among them, cheapest first), n (seeds that all candidates walked, over which means are taken).
    """
    found = []
    for have, enough in HAVE.items():
        able = [m for m in methods(arm) if set(METHODS[m].needs) <= enough and m not in NEVER_ADVISED]
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
        told.append((row.have, one["title"], price, gets, tables.number(one["seconds"], ".1f"), ties))
    return tables.frame(told, "if you have", "use", "others lose [95 %]", "forgets in", "seconds", "as good")


def readme(run: Run) -> str:
    """The answer for the README: the bar's sentence and the advice of each arm; "" without a comparison."""
    parts = []
    for arm in side_by_side.of_run(run):
        told = advice_table(arm)[["if you have", "use", "others lose [95 %]", "forgets in"]]
        parts.append(f"\n{bar_sentence(arm).data}\n\n{tables.markdown(told)}\n")
    lead = "\n**Other methods**, tuned alike and read by the same rule (`notebooks/09_methods`):\n"
    return lead + "".join(parts) if parts else ""


# -- elsewhere --------------------------------------------------------------------------------------------


def elsewhere(arms: Sequence[Arm]) -> pd.DataFrame:
    """Each method's price by arm, as a share of what throwing the fine-tuning away costs there."""
    found = {tables.short(arm.name): summary(arm)["price"] / side_by_side.thrown_away(arm) for arm in arms}
    return pd.DataFrame(found).reindex(methods(arms[0]))


def elsewhere_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """`elsewhere` in words, in the order of the first arm; the last row is the order's rank correlation."""
    found = elsewhere(arms).sort_values(tables.short(arms[0].name), kind="stable")
    told = found.map(lambda share: tables.number(share, ".0%"))
    told.insert(0, "method", [METHODS[m].title for m in found.index])
    ranks = found.corr("spearman").iloc[0].map("{:.2f}".format)
    last = {"method": "rank correlation with the first", **ranks}
    return pd.concat([told, pd.DataFrame([last])], ignore_index=True)
