"""Chapter 00's advice in one table: by what a user still has, what to use and what it costs.

It joins the rules of chapter 09 (`claims.methods`, among methods) and chapter 10 (`ch10_practice`, among
updates that read the person's own records), below what both advise first: to train again.
"""

import pandas as pd

from unlearnkit import stats
from unlearnkit.report import ch09_methods, ch10_practice, side_by_side, tables
from unlearnkit.report.ch09_advice import advice, named
from unlearnkit.report.claim_values import cost
from unlearnkit.report.oracles import oracle_floor
from unlearnkit.report.run import Arm, Run

EVERYTHING, OWN = "all texts, and time to train again", "the person's records in the ledger"
KEPT = {"the ledger": "everybody's records in the ledger"}  # `claims.methods.HAVE` in this table's words
COLUMNS = ("if you have", "use", "others lose [95 %]", "single facts off by", "forgets on the mean in")


def arms(run: Run) -> list[Arm]:
    """Those that the table is about: what chapter 09 reports, or the headline where it compares nothing."""
    return _compared(run) or run.arms[:1]


def _compared(run: Run) -> list[Arm]:
    return ch09_methods.reported(side_by_side.of_run(run))


def table(arm: Arm) -> pd.DataFrame:
    """What to use by what a user has, in words: a row for training again, one for each that the rules name.

    Nats a token where the person is forgotten on the mean; single facts are off by D_F. An arm that compares
    no methods has the first two rows.
    """
    found = [_retraining(arm), _own(arm)]
    if len(side_by_side.walks(arm)):
        read = side_by_side.summary(arm)
        for row in advice(arm).itertuples():
            told = _cells(named(arm, row.use), **read.loc[row.use]) if row.use else ("none forgets", *"–––")
            found.append((KEPT.get(row.have, row.have), *told))
    return tables.frame([row for row in found if row], *COLUMNS)


def _retraining(arm: Arm) -> tuple[str, ...]:
    """Training again: an oracle is what others are held against, and off by what another oracle is."""
    seconds, floor = side_by_side.retraining_seconds(arm), oracle_floor(arm)
    if floor is None and "retrain" in side_by_side.methods(arm):
        floor = side_by_side.summary(arm).loc["retrain", "distance"]
    takes = f" ({tables.duration(seconds)})" if seconds == seconds else ""
    apart = "–" if floor is None else f"{floor:.2f}"
    return EVERYTHING, f"training without the person{takes}", "0", apart, "all, by definition"


def _own(arm: Arm) -> tuple[str, ...] | None:
    """The setting that chapter 10's rule advises; None where it advises none."""
    chosen = ch10_practice.ranked(arm).query("advised")
    if not len(chosen):
        return None
    row = chosen.iloc[0]
    mean = stats.mean_ci(cost(arm, (row["layers"], row["method"])))
    reached = round(row["reach"] * row["n"])
    ends = mean.ci_low, mean.ci_high
    return OWN, *_cells(row["setting"], row["cost"], *ends, row["distance"], reached, row["n"])


def _cells(use, price, ci_low, ci_high, distance, reached, seeds, **_) -> tuple[str, ...]:
    """What stands behind "if you have" of one method or setting."""
    told = tables.estimate(price, ci_low, ci_high, ".2f")
    return use, told, tables.number(distance, ".2f"), f"{reached} of {seeds}"


def readme(run: Run) -> str:
    """The answer for the README: the bar's sentence and `table` of each arm that compares; or ""."""
    parts = [
        f"\n{ch09_methods.bar_sentence(arm).data}\n\n{tables.markdown(table(arm))}\n"
        for arm in _compared(run)
    ]
    lead = "\n**Other methods**, tuned alike and read by the same rule (`notebooks/09_methods`):\n"
    return lead + "".join(parts) if parts else ""
