"""Chapter 09: what was tried of each method before the comparison, and what was chosen."""

import json
from fractions import Fraction

import pandas as pd
from IPython.display import Markdown

from unlearnkit.report import tables
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import methods
from unlearnkit.study import plan, trials
from unlearnkit.unlearning import METHODS


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


def tuning_table(arm: Arm) -> pd.DataFrame:
    """A row a method: how many settings were tried, which was chosen, its mean price, and the dearest's."""
    _, found = tuning(arm)
    paid, chosen = found.groupby(["method", "trial"], sort=False)["price"].mean(), trials.best(found)
    told = []
    for method in (m for m in trials.names() if m in chosen):
        own = paid[method]
        worst = tables.number(own.max(), ".2f") if len(own) > 1 else "–"
        told.append(
            (METHODS[method].title, len(own), options(chosen[method]), f"{own[chosen[method]]:.2f}", worst)
        )
    return tables.frame(told, "method", "tried", "chosen", "its price", "the dearest's")


def options(trial: str) -> str:
    """A trial's options in words; rates as fractions of the fine-tuning's."""
    told = json.loads(trial)
    return ", ".join(f"{k} {Fraction(v) if k == 'rate' else v}" for k, v in told.items()) or "its defaults"
