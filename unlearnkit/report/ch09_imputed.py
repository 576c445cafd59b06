"""Chapters 09 and 15: what is charged in seeds without matched forgetting, and what was measured there.

The registered rule charges all that was taught in a seed where a method does not forget as the oracle. One
that goes to one place may fall short by no more than NEAR (`claims.methods`).
"""

import pandas as pd
from IPython.display import Markdown

from unlearnkit.claims.methods import NEAR
from unlearnkit.report import side_by_side, tables
from unlearnkit.report.run import Arm
from unlearnkit.report.side_by_side import reading, summary

FOOTNOTE = (
    "Where a method does not forget in a seed, *others lose* counts all that they were taught; *measured* is "
    "what they have lost on the mean where it was read in fact. A method of one place has forgotten if its "
    f"facts' mean is no more than {NEAR:g} nats short of the oracles'."
)


def measured(found: pd.DataFrame) -> pd.Series:
    """What others lose where it is read, of methods in `summary` that miss matched forgetting in a seed."""
    return found["damage"].where(found["reached"] < found["seeds"])


def retraining_sentence(arm: Arm) -> Markdown | None:
    """Why retraining, which is an oracle in another order, has a price; None where it was not walked."""
    if "retrain" not in side_by_side.methods(arm):
        return None
    found = summary(arm).loc["retrain"]
    own = reading(arm).query("method == 'retrain' and not reached")["seed"]
    told = f"On {arm.name} *retraining*, an oracle in another order of the facts, is charged "
    told += f"{found['price']:.2f} nats, and others have lost {found['damage']:.2f} by it in fact."
    if len(own):
        paths = [side_by_side.paths(arm)["retrain", seed] for seed in own]
        short = [-path.steps["gap"].iloc[-1] for path in paths]
        told += f" In {len(own)} of {tables.count(found['seeds'], 'seed')} its facts' mean stays more than "
        told += f"{NEAR:g} nats short of the other oracles' (by {min(short):.2f} to {max(short):.2f}). The "
        told += "registered rule takes that for not having forgotten, and charges all that was taught: the "
        told += "price tells how far oracles differ, and nothing of what retraining takes from others."
    return Markdown(told)
