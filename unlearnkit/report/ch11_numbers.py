"""Chapter 11, behind a cell of the grid: what each verdict rests on, seed by seed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import verification
from unlearnkit.errors import DataError
from unlearnkit.report import figures, tables
from unlearnkit.report.ch11_verification import TITLES, evidence, judgements, title
from unlearnkit.report.run import Arm
from unlearnkit.study import judged, judged_on
from unlearnkit.study.verified import ATTACKS

COLUMNS = ("column", "of", "value", "oracle")
NATS = ("klom", "equivalence", "asked")  # tests whose numbers are in nats
UNITS = {"relearning": "nats x steps", "membership": "AUC less the oracle's"} | dict.fromkeys(NATS, "nats")
WORDS = {"distance": "distance $D_F$", "gap": "gap of the means"}


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


def deciding(arm: Arm) -> pd.DataFrame:
    """The number that each verdict rests on, a row a method, a column a test; a dash where there is none."""
    found = {
        title(name): {TITLES[row]: tables.number(one.estimate, ".2f") for row, one in rows.items()}
        for name, rows in judgements(arm).items()
    }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("method").reset_index()


def numbers(arm: Arm, method: str, row: str) -> pd.DataFrame:
    """What one cell of the grid is judged on, a row a number: column, of, value, oracle (the control's).

    `of` is a training seed. Of the many models it is a fact with its world, and the control what halves of
    the oracles show; of the coins the value is the share of right guesses. No rows where a test was not made.
    """
    known = evidence(arm)
    if row == "klom":
        worlds = [_klom(world, method, k) for k, world in enumerate(known.populations)]
        return pd.concat([pd.DataFrame(columns=COLUMNS), *worlds])
    pair = _coins(known.coins, method) if row == "audit" else judged.numbers(known, method, row)
    own, control = (
        table.rename_axis("of").reset_index().melt("of", var_name="column", value_name=name)
        for table, name in zip(pair, ("value", "oracle"), strict=True)
    )
    return own.merge(control, how="outer")[list(COLUMNS)]


def _coins(coins: judged.Observed | None, method: str) -> list[pd.DataFrame]:
    """The share of right guesses, a row a seed: of a method, and of the oracle."""
    if coins is None:
        return [pd.DataFrame(), pd.DataFrame()]
    both = (judged_on.guesses(coins.of(name)) for name in (method, judged.ORACLE))
    return [pd.DataFrame({"right": table["right"] / table["of"]}) for table in both]


def _klom(world: judged.Observed, method: str, number: int) -> pd.DataFrame:
    """KLoM of each fact of one world, and what the oracles' halves show; no rows where it was not asked."""
    own, oracles = judged.population(world, method)
    if not len(own):
        return pd.DataFrame(columns=COLUMNS)
    found = stats.klom(own, oracles)
    of = [f"{fact} (world {number})" for fact in own]
    told = {"column": "klom", "of": of, "value": found.per_fact, "oracle": found.null_per_fact}
    return pd.DataFrame(told, columns=COLUMNS)


def numbers_table(arm: Arm, method: str, row: str) -> pd.DataFrame:
    """The numbers behind one cell of the grid: a row a seed (or fact), the method's beside the control's."""
    found = numbers(arm, method, row)
    told = found.pivot_table(["value", "oracle"], "of", "column", sort=False).swaplevel(axis=1)
    order = [(c, of) for c in found["column"].unique() for of in ("value", "oracle") if (c, of) in told]
    told = told[order].map(lambda value: tables.number(value, ".3f"))
    called = {"value": title(method), "oracle": control(row)}
    told.columns = [f"{column}: {called[of]}" for column, of in order]
    return told.rename_axis("fact" if row == "klom" else "seed").reset_index()


def bounds(found: pd.DataFrame, row: str) -> dict[str, tuple[float, float]]:
    """By column of `numbers`, where the test wants the mean to lie; only of the test of equivalence.

    Its margin is the mean distance of one oracle from the others, by which a model may lie farther off.
    """
    margin = found.loc[found["column"] == "distance", "oracle"].mean()
    return {"distance": (0, 2 * margin), "gap": (-margin, margin)} if row == "equivalence" else {}


def figure(arm: Arm, method: str, row: str) -> plt.Figure:
    """`numbers`, a point a seed (or fact), the control's below the method's; a grey band: `bounds`."""
    found = numbers(arm, method, row)
    names, within = list(found["column"].unique()), bounds(found, row)
    drawn, ax = figures.figure(1.2 + 0.4 * len(names))
    looks = {"value": (title(method), "first_epoch", -0.2), "oracle": (control(row), "oracle", 0.2)}
    for y, column in enumerate(names):
        if column in within:
            low, high = within[column]
            ax.fill_betweenx([y - 0.42, y + 0.42], low, high, color=figures.FAINT, alpha=0.5, lw=0, zorder=0)
        for of, (label, colour, shift) in looks.items():
            values = found.loc[found["column"] == column, of]
            places = (
                y + shift + 0.1 * np.tile([-1, 0.5, -0.5, 1, 0], len(values))[: len(values)]
            )  # side by side
            told = {"color": figures.COLOURS[colour], "label": label if not y else None}
            ax.scatter(values, places, s=16, alpha=0.6, lw=0, **told)
    ax.set_yticks(range(len(names)), [WORDS.get(name, name) for name in names])
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_title(f"{title(method)}: {TITLES[row]} ({tables.short(arm.name)})", fontsize=9, loc="left")
    return drawn


def control(row: str) -> str:
    """What a row's numbers are held against."""
    return {"klom": "halves of the oracles", "audit": "the oracle"}.get(row, "second oracle")


def means(arm: Arm) -> pd.DataFrame:
    """Means over seeds (or facts) of every number, a row a method and a column a number, for people."""
    parts = {
        name: pd.concat({row: _mean(numbers(arm, name, row)) for row in TITLES}) for name in judgements(arm)
    }
    table = pd.DataFrame(parts).T
    table = table[sorted(table, key=lambda column: [*TITLES].index(column[0]))]
    table.columns = [f"{TITLES[row]}: {column}" for row, column in table.columns]
    told = table.map(lambda value: tables.number(value, ".2f"))
    told.insert(0, "method", [title(name) for name in table.index])
    return told


def _mean(found: pd.DataFrame) -> pd.Series:
    return found.groupby("column", sort=False)["value"].mean().rename(index=str)


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
