"""Chapter 09: methods side by side, and which is far cheaper than the paper's (`claims.methods`)."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from IPython.display import Markdown

from unlearnkit.claims.methods import NEVER_ADVISED, PAPER, PRINCIPAL, SHARE, sees
from unlearnkit.report import contrasts, side_by_side, tables
from unlearnkit.report.ch09_imputed import FOOTNOTE, measured
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import methods, prices, reading, summary
from unlearnkit.study.config import DAMAGE_LEVELS, TINY
from unlearnkit.unlearning import METHODS

NOTE = "Means over {seeds}; others lose with 95 % t intervals; nats a token. D_F: distance to the oracle."


def reported(arms: Sequence[Arm]) -> list[Arm]:
    """The arms whose every number the page shows: the headline, and the one with the most paths."""
    widest = max(arms, key=lambda arm: len(side_by_side.walks(arm)), default=None)
    return [arm for arm in arms if arm in (arms[0], widest)]


def model(arm: Arm) -> str:
    """The model's name without what most share."""
    return tables.short(arm.name).partition(",")[0]


def of_each(arms: Sequence[Arm], tell: Callable[[Arm], pd.DataFrame]) -> pd.DataFrame:
    """`tell` of every arm, one below the other; of several, the second column names the model."""
    found = [tell(arm) for arm in arms]
    if len(arms) > 1:
        for table, arm in zip(found, arms, strict=True):
            table.insert(1, "model", model(arm))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def seeds(arm: Arm) -> str:
    """How many training seeds the methods' paths were walked in: `3 seeds`, or `3 to 8 seeds`."""
    least, most = summary(arm)["seeds"].agg(["min", "max"])
    return tables.count(most, "seed") if least == most else f"{least} to {most} seeds"


def note(arms: Sequence[Arm], also: str = FOOTNOTE) -> str:
    """What stands below a table of methods; `also` about its column *measured*."""
    told = []
    for arm in arms:
        again = side_by_side.retraining_seconds(arm)
        takes = f" (retraining takes {tables.duration(again)})" if again == again else ""
        told.append(f"{seeds(arm)} of {arm.name}{takes}")
    return f"{NOTE.format(seeds=' and '.join(told))} {also.replace('*', '')}".strip()


def headline_rows(table: pd.DataFrame, whole: Arm | None = None) -> pd.Series:
    """Rows that a page has room for: the principal methods, and all of the `whole` arm."""
    chosen = table["method"].isin([METHODS[name].title for name in PRINCIPAL])
    if whole:
        chosen |= table["model"] == model(whole) if "model" in table else True
    return chosen


# -- tables -----------------------------------------------------------------------------------------------


def rows(arm: Arm, family: str) -> pd.DataFrame:
    """The methods of one family in words, the few columns that its paragraph is about."""
    return _for_people(arm, summary(arm).query("family == @family"))


def shown(arms: Sequence[Arm], family: str) -> Markdown | None:
    """`rows` of every arm, saved and for display, a method's together; a line where nobody walked one."""
    if not arms:
        return None
    found = of_each(arms, lambda arm: rows(arm, family))
    if not len(found):
        return Markdown("*This run walked none of these.*")
    order = [method.title for method in METHODS.values()]
    found = found.sort_values("method", key=lambda titles: titles.map(order.index), kind="stable")
    return tables.show(found, arms[0].run, f"methods_{family}", note(arms))


Says = Callable[[pd.DataFrame], bool]  # what a page says of an arm's `summary`


def checked(
    arms: Sequence[Arm], needed: Sequence[str], so: Says, text: str, real: Says | None = None
) -> Markdown | None:
    """Nothing where `so(summary)` holds of every arm, as the page says in `text`; else a warning.

    An arm that did not walk all of the `needed` methods is not asked: the page says nothing of it. `real` is
    what the page says of arms whose model is not the tiny one, where it says something else there.
    """
    asked = [arm for arm in arms if set(needed) <= set(methods(arm))]
    holds = [(so if arm.model == TINY or real is None else real)(summary(arm)) for arm in asked]
    return contrasts.unless(all(map(bool, holds)), text)


def every_number(arm: Arm) -> pd.DataFrame:
    """Every method with all that the comparison measured, by price."""
    found = summary(arm).sort_values("price", kind="stable")
    told, stored = _for_people(arm, found), side_by_side.kept(arm).reindex(found.index)
    told.insert(1, "family", found["family"].to_numpy())
    told["running text rises"] = _numbers(found["utility_rise"])
    told["other words, NLL"] = _numbers(found["paraphrase_nll"])
    told["to the oracle"] = tables.number(side_by_side.paraphrases(arm), ".2f")
    told["peak memory, GB"] = _numbers(found["peak_gb"])
    told["kept from training"] = [tables.bytes_of(b) if b > 0 else "–" for b in stored]
    told["source"] = [METHODS[m].source or "–" for m in found.index]
    return told


def _for_people(arm: Arm, found: pd.DataFrame) -> pd.DataFrame:
    """Rows of `summary` in words."""
    return pd.DataFrame(
        {
            "method": found["title"].to_numpy(),
            "sees again": [sees(side_by_side.needed(arm, m)) for m in found.index],
            "forgets on the mean in": [f"{row.reached} of {row.seeds}" for row in found.itertuples()],
            "others lose [95 %]": tables.estimates(found, "price", ".2f"),
            "measured": _numbers(measured(found)),
            "D_F there": _numbers(found["distance"]),
            "closest": _numbers(found["closest"]),
            "neighbours lose": _numbers(found["neighbour_damage"]),
            "seconds": _numbers(found["seconds"], ".1f"),
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
        there = there[there["reached"]].groupby("method")["distance"].agg(["mean", "size"])
        there = there.reindex(found.index)
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

    Columns: those of `contrasts.contrast`, and cheaper: `contrasts.shown_below`, Holm over the rivals.
    Without the first epoch's paths no rows.
    """
    paid = prices(arm)
    least = SHARE * paid[PAPER] if PAPER in paid else pd.Series(dtype=float)
    pairs = {m: (paid[m], least) for m in rivals(arm)} if len(least) else {}
    found = contrasts.family(pairs).set_index("against")
    return found.assign(cheaper=contrasts.shown_below(found))


def principal_bar(arm: Arm) -> pd.DataFrame:
    """`bar` of the principal methods, tested by themselves: like beside like, on every arm."""
    found = bar(arm)
    own = contrasts.with_holm(found[found.index.isin(PRINCIPAL)])
    return own.assign(cheaper=contrasts.shown_below(own))


def bar_table(arm: Arm) -> pd.DataFrame:
    """`bar` in words, the methods that lie furthest below it first."""
    found = bar(arm).sort_values("difference", kind="stable")
    return pd.DataFrame(
        {
            "method": [METHODS[m].title for m in found.index],
            "price less a third [95 %]": tables.estimates(found, "difference"),
            "p (Holm)": [tables.p_value(p) for p in found["p_holm"]],
            "seeds": found["n"].to_numpy(),
            "far cheaper": np.select([found["cheaper"], found["ci_low"] > 0], ["yes", "no"], "open"),
        }
    )


def _titles(found: pd.DataFrame, cheaper: pd.Series) -> list[str]:
    """The titles of some rows of `bar`, the cheapest first."""
    return [f"*{METHODS[m].title}*" for m in found[cheaper].sort_values("difference").index]


def bar_sentence(arm: Arm) -> Markdown:
    """Which methods are shown to be far cheaper than the paper's, or that none is."""
    found, paper = bar(arm), summary(arm).loc[PAPER]
    first = (
        f"On {arm.name} the first epoch, on all layers, costs others {paper['price']:.2f} nats a token of "
        f"the {side_by_side.thrown_away(arm):.2f} that they were taught, and forgets on the mean in "
        f"{paper['reached']} of {tables.count(paper['seeds'], 'seed')}{side_by_side.on_the_embedding(arm)}."
    )
    few, names = found.index.isin(PRINCIPAL), _titles(found, found["cheaper"])
    nine = principal_bar(arm)
    own = _titles(nine, nine["cheaper"])
    told = "**No other method is shown to cost less than a third of the former.**"
    if names:
        of = f"the {len(found)} principal methods" if few.all() else tables.count(len(found), "method")
        some = f"{len(names)} of {of}"
        told = f"**Shown to cost less than a third of the former: {some}**, namely {', '.join(names)}"
        told += f" (Holm over {len(found)} tests)."
    if few.any() and not few.all():
        told += f" Of the {few.sum()} principal methods, tested by themselves (Holm over {few.sum()}), "
        told += f"{len(own)}: {', '.join(own) or 'none'}."
    best = summary(arm).loc[found.index, "price"].idxmin() if len(found) else None
    if best and not found.loc[best, "cheaper"]:  # a few seeds may show less of what varies more
        price = summary(arm).loc[best, "price"]
        told += f" On the mean *{METHODS[best].title}* is the cheapest: {price:.2f}."
    return Markdown(f"{first} {told}")


def answer(arms: Sequence[Arm]) -> Markdown | None:
    """The bar's sentence of each arm."""
    return Markdown("\n".join(f"* {bar_sentence(arm).data}" for arm in arms)) if arms else None
