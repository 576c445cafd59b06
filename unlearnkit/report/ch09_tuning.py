"""Chapter 09: what was tried of each method before the comparison, and what was chosen."""

import json
from fractions import Fraction

import pandas as pd
from IPython.display import Markdown

from unlearnkit.claims.methods import PAPER
from unlearnkit.report import tables
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import methods, summary
from unlearnkit.study import plan, trials
from unlearnkit.unlearning import METHODS

TIMES = 2  # a price that rises by more, and by NATS, did not keep
NATS = 0.3


def tuning(arm: Arm) -> tuple[str, pd.DataFrame]:
    """(the family of models that the options come from, its trials); no trials where there are none."""
    for family in (plan.family(arm.model), trials.FALLBACK):
        if len(found := trials.tried(family)):
            return family, found
    return plan.family(arm.model), trials.tried(plan.family(arm.model))


def tuning_sentence(arm: Arm) -> Markdown:
    """Where the options of an arm's methods come from."""
    family, found = tuning(arm)
    if not len(found):
        return Markdown(
            "*No method was tuned: each has its defaults and a quarter of the fine-tuning's learning rate.*"
        )
    worlds = tables.count(found["seed"].nunique(), "world")
    own = family == plan.family(arm.model)
    told = "" if own else f", since nobody tuned them on {arm.model}"
    text = f"The options of {arm.name} were chosen on {family}, in {worlds}{told}."
    borrowed = [
        METHODS[m].title
        for m in methods(arm)
        if own and m not in set(found["method"]) and len(trials.space(m)) > 1
    ]
    if borrowed:
        text += (
            f" What a trial takes there let only the principal methods be tuned: {', '.join(borrowed)} have "
            f"what was chosen on {trials.FALLBACK}."
        )
    return Markdown(text)


def moved(arm: Arm) -> pd.DataFrame:
    """A row a method: its price in the tuning worlds (then), in the test worlds (now), reached, seeds."""
    _, found = tuning(arm)
    paid, chosen = found.groupby(["method", "trial"], sort=False)["price"].mean(), trials.best(found)
    there = [method for method in methods(arm) if method in chosen]
    then = pd.Series({method: paid[method, chosen[method]] for method in there}, dtype=float)
    tested = summary(arm).loc[then.index, ["price", "reached", "seeds"]]
    return tested.rename(columns={"price": "now"}).assign(then=then)


def moved_sentence(arm: Arm) -> Markdown | None:
    """Which prices of the chosen settings did not keep in the test worlds; None where nothing was tuned."""
    found = moved(arm)
    if not len(found):
        return None
    more = found[(found["now"] > TIMES * found["then"]) & (found["now"] > found["then"] + NATS)]
    worse = [
        f"*{METHODS[row.Index].title}* {row.then:.2f} → {row.now:.2f} (in {row.reached} of {row.seeds})"
        for row in more.itertuples()
    ]
    told = (
        f"On {arm.name} prices more than {TIMES} times as high in the test worlds (forgets on the mean in): "
    )
    told += f"{'; '.join(worse) or 'none'}."
    if PAPER in found.index:
        fixed = found.loc[PAPER]
        told += f" The first epoch, which has nothing to tune: {fixed['then']:.2f} → {fixed['now']:.2f}."
    return Markdown(told)


def tuning_table(arm: Arm) -> pd.DataFrame:
    """A row a method: settings tried, the chosen one, its price then and in the test worlds, the worst's."""
    _, found = tuning(arm)
    again = summary(arm)["price"].reindex(trials.names())
    paid, chosen = found.groupby(["method", "trial"], sort=False)["price"].mean(), trials.best(found)
    told = []
    for method in (m for m in trials.names() if m in chosen):
        own = paid[method]
        worst = tables.number(own.max(), ".2f") if len(own) > 1 else "–"
        told.append(
            (
                *(METHODS[method].title, len(own), options(chosen[method]), f"{own[chosen[method]]:.2f}"),
                *(tables.number(again[method], ".2f"), worst),
            )
        )
    return tables.frame(told, "method", "tried", "chosen", "its price", "in the test worlds", "the dearest's")


def options(trial: str) -> str:
    """A trial's options in words; rates as fractions of the fine-tuning's."""
    told = json.loads(trial)
    return ", ".join(f"{k} {Fraction(v) if k == 'rate' else v}" for k, v in told.items()) or "its defaults"
