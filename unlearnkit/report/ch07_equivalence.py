"""Chapter 07: is an unlearned model as good as an oracle? Tests of equivalence."""

import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import ALPHA
from unlearnkit.errors import DataError
from unlearnkit.report.ch07_facts import UPDATES
from unlearnkit.report.contrasts import with_holm
from unlearnkit.report.oracles import oracle_floor, oracle_spread
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm
from unlearnkit.report.tables import frame
from unlearnkit.study.config import TINY

FIXED_MARGIN = 0.25  # nats; of a run without several oracles of one world, fixed before looking
ORACLE = "an oracle (against the others)"


def oracle_margin(arm: Arm) -> tuple[float, str]:
    """(nats, where from): how far one oracle lies from the others of its world, on average over seeds.

    Of the arm itself where it has several oracles a world; else of the tiny model's AdamW arm; else fixed.
    """
    tiny = [a for a in arm.run.arms if a.model == TINY and a.optimizer == "adamw"]
    for source in (arm, *tiny):
        if spread := oracle_floor(source):
            return spread, f"mean distance of one oracle from the others, {source.name}"
    return FIXED_MARGIN, "fixed beforehand, since no world here has two oracles"


def equivalence(arm: Arm, kind: str = "closest") -> pd.DataFrame:
    """TOST over seeds: is an update about as far from the oracle as oracles are, at a reading of its path?

    measure "distance": D_F minus the margin, which is what an oracle itself has of D_F; "gap": forget NLL
    minus the oracles', signed. Both must lie within +- the margin, so that D_F must be below twice that. The
    oracles among themselves come last, where there are several, for scale: their means are zero by
    construction.

    Columns: measure, update, n, mean, ci_low, ci_high (90 %, which decides), p, p_holm (over the updates of a
    measure; of the oracles p itself), equivalent (p_holm < 0.05). One seed has a mean and nothing else.
    """
    size, _ = oracle_margin(arm)
    among, rows = oracle_spread(arm), []
    for measure, shift in (("distance", size), ("gap", 0.0)):
        told = {"index": "seed", "columns": ["layers", "method"], "values": f"oracle_{measure}"}
        wide = reading(arm, kind).pivot_table(**told, dropna=False)
        values = {name: wide[where].dropna() for where, name in UPDATES.items() if where in wide}
        values[ORACLE] = among[measure]
        told = {name: _tost(v - shift, size) for name, v in values.items() if len(v)}
        rows += [{"measure": measure, "update": name, **row} for name, row in told.items()]
    table = frame(rows, "measure", "update", "n", "mean", "ci_low", "ci_high", "p")
    own = table["update"] != ORACLE
    table = table.assign(p_holm=with_holm(table[own], "measure")["p_holm"])
    table["p_holm"] = table["p_holm"].where(own, table["p"])
    return table.assign(equivalent=table["p_holm"] < ALPHA)


def _tost(values: pd.Series, size: float) -> dict:
    row = {"n": len(values), "mean": values.mean()}
    try:
        test = stats.tost(values, size)
    except DataError:
        return row
    return row | {"ci_low": test.ci_low, "ci_high": test.ci_high, "p": test.p}
