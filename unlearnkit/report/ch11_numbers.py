"""Chapter 11, behind a cell of the grid: what each verdict rests on, seed by seed."""

import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import verification
from unlearnkit.errors import DataError
from unlearnkit.report import tables
from unlearnkit.report.ch11_verification import TITLES, evidence, judgements, title
from unlearnkit.report.run import Arm
from unlearnkit.study import judged
from unlearnkit.study.verified import ATTACKS


def rows(arm: Arm, method: str) -> pd.DataFrame:
    """Every row of the protocol for one method, in words."""
    found, about = judgements(arm)[method], {row.id: row for row in verification.ROWS}
    return pd.DataFrame(
        {
            "test": [TITLES[name] for name in found],
            "passes if": [about[name].passes for name in found],
            "verdict": [one.verdict for one in found.values()],
            "estimate": [tables.estimate(one.estimate, *one.interval, ".2f") for one in found.values()],
            "power": [one.power for one in found.values()],
        }
    )


def numbers(arm: Arm, method: str) -> pd.DataFrame:
    """What a method is judged on, a row a number: row, column, seed, value, oracle (the control's)."""
    parts = []
    for name in judged.NUMBERS:
        own, control = (
            table.rename_axis("seed").reset_index().melt("seed", var_name="column", value_name=of)
            for table, of in zip(
                judged.numbers(evidence(arm), method, name), ("value", "oracle"), strict=True
            )
        )
        parts.append(own.merge(control, how="outer").assign(row=name))
    return pd.concat(parts)[["row", "column", "seed", "value", "oracle"]]


def numbers_table(arm: Arm, method: str, row: str) -> pd.DataFrame:
    """The numbers behind one cell of the grid: a row a seed, the method's beside another oracle's."""
    found = numbers(arm, method).query("row == @row")
    told = found.pivot_table(["value", "oracle"], "seed", "column", sort=False).swaplevel(axis=1)
    order = [(c, of) for c in found["column"].unique() for of in ("value", "oracle") if (c, of) in told]
    told = told[order].map(lambda value: tables.number(value, ".3f"))
    called = {"value": title(method), "oracle": "another oracle"}
    told.columns = [f"{column}: {called[of]}" for column, of in order]
    return told.reset_index()


def means(arm: Arm) -> pd.DataFrame:
    """Means over seeds of every number, a row a method and a column a number, for people."""
    parts = {
        name: numbers(arm, name).groupby(["row", "column"], sort=False)["value"].mean()
        for name in judgements(arm)
    }
    table = pd.DataFrame(parts).T
    table.columns = [f"{TITLES[row]}: {column}" for row, column in table.columns]
    told = table.map(lambda value: tables.number(value, ".2f"))
    told.insert(0, "method", [title(name) for name in table.index])
    return told


def low_fpr(arm: Arm) -> pd.DataFrame:
    """The TPR of each attack at an FPR of 1 % (Carlini et al. 2022), one threshold for all seeds.

    Facts of a seed are not independent, so that there is no interval. No rows where hold-out facts are too
    few for such a share.
    """
    worlds = evidence(arm).worlds
    try:
        found = {title(name): _low_fpr(worlds.of(name)) for name in judgements(arm)}
    except DataError:
        return pd.DataFrame()
    return (
        pd.DataFrame.from_dict(found, orient="index").map("{:.2f}".format).rename_axis("method").reset_index()
    )


def _low_fpr(scored: pd.DataFrame) -> dict[str, float]:
    found = {}
    for attack in ATTACKS:
        of = scored[scored["metric"] == f"mia_{attack}"].groupby("split")["value"]
        found[attack] = stats.tpr_at_fpr(of.get_group("forget"), of.get_group("holdout")).tpr
    return found
