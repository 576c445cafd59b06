"""Chapter 11: forgotten, or only hidden? Every method under every test of the protocol, against oracles.

Rows, margins and the rule are `claims.verification`'s; `study.judged` applies them to the observations.
"""

from collections.abc import Sequence
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.colors import ListedColormap

from unlearnkit import stats
from unlearnkit.claims import verification
from unlearnkit.claims.judging import FAIL, NO_POWER, PASS, Judgement
from unlearnkit.claims.methods import NEAR
from unlearnkit.errors import DataError
from unlearnkit.report import contrasts, figures, tables
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import judged
from unlearnkit.study.judged import Evidence, Observed
from unlearnkit.study.verified import ATTACKS, COINS, CONTROLS, POPULATION
from unlearnkit.unlearning import METHODS

TITLES = {
    "klom": "many models",
    "relative": "nearer to oracle",
    "equivalence": "equivalent",
    "membership": "membership",
    "audit": "coins",
    "relearning": "relearning",
    "quantisation": "rounding",
    "leakage": "sampling",
    "depth": "inside",
}
VERDICT = "forgets"
MUST = {judged.ORACLE: "another oracle", "noop": "nothing done", "wrong_person": "wrong person"}
MARKS = {PASS: "✓", FAIL: "✗", NO_POWER: "?"}  # read without colour
SHADES = {PASS: "#BFE3D0", FAIL: "#F2B59B", NO_POWER: "#ECECEC"}


def of_run(run: Run) -> list[Arm]:
    """The arms of a run that verify methods, the headline first; none where it did not look."""
    return [arm for arm in run.arms if len(arm.observations("verified"))]


WANTED = {
    "worlds of gpt2-tiny": "seeds_verified",
    "worlds of each other small model": "seeds_verified_beside",
    "worlds of the run's own model": "seeds_verified_main",
    "worlds of coins": "seeds_audit",
    "worlds of many models": "seeds_klom",
}


def warnings(run: Run) -> Markdown | None:
    """What stands above a page where a run verifies no method, or in fewer worlds than were registered."""
    if of_run(run):
        return Markdown(told) if (told := contrasts.interim(run, WANTED)) else None
    return Markdown(
        "> ⚠ **This run verified no method**, and shows nothing here. Runs of the profile `full` verify the "
        'principal methods, and others of the built-in study with `P="seeds_verified=8"`.'
    )


@cache
def evidence(arm: Arm) -> Evidence:
    """What a run knows of a model: its worlds, its coins, its populations."""
    beside = [other for other in arm.run.beside if other.model == arm.model]
    coins = [_observed(other) for other in beside if other.variant == COINS]
    populations = [_observed(other) for other in beside if other.variant.startswith(POPULATION)]
    return Evidence(_observed(arm), coins[0] if coins else None, tuple(populations))


def _observed(arm: Arm) -> Observed:
    return Observed(arm.observations("verified"), arm.observations("verified_oracles"))


@cache
def judgements(arm: Arm) -> dict[str, dict[str, Judgement]]:
    """By method and row; what must pass or fail first, then the methods in tables' order."""
    known = evidence(arm)
    names = [name for name in MUST if name in known.methods]
    names += [name for name in METHODS if name in known.methods and name not in CONTROLS]
    return {name: judged.judgements(known, name) for name in names}


def title(method: str) -> str:
    return MUST.get(method) or METHODS[method].title


# -- the grid ---------------------------------------------------------------------------------------------


def verdicts(arm: Arm) -> pd.DataFrame:
    """A row a method (the index), a column a row of the protocol, and the verdict on the method."""
    found = judgements(arm)
    told = {name: {row: one.verdict for row, one in rows.items()} for name, rows in found.items()}
    table = pd.DataFrame.from_dict(told, orient="index")
    return table.assign(**{VERDICT: [verification.forgets(rows) for rows in found.values()]})


def grid(arm: Arm) -> plt.Figure:
    """Methods x tests: ✓ pass, ✗ fail, ? no power; the last column is the verdict."""
    table = verdicts(arm)
    codes = table.map(list(MARKS).index).to_numpy()
    drawn, ax = figures.figure(1.2 + 0.27 * len(table))
    ax.imshow(codes, cmap=ListedColormap([SHADES[v] for v in MARKS]), vmin=0, vmax=2, aspect="auto")
    for (y, x), verdict in np.ndenumerate(table.to_numpy()):
        ax.text(x, y, MARKS[verdict], ha="center", va="center", color=figures.INK, fontsize=10)
    wide, tall = table.shape[1], len(table)
    decides = [row.id for row in verification.ROWS if row.decides]
    names = [TITLES.get(name, name) + ("" if name in (*decides, VERDICT) else "*") for name in table]
    ax.set_xticks(range(wide), names, rotation=35, ha="left")
    ax.xaxis.tick_top()
    ax.set_yticks(range(tall), [title(name) for name in table.index])
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(wide - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(tall - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", lw=2)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    ax.axvline(wide - 1.5, color=figures.INK, lw=1)
    ax.axhline(sum(name in MUST for name in table.index) - 0.5, color=figures.INK, lw=1)
    return drawn


def sentence(arm: Arm) -> Markdown:
    """Which methods forget, what nothing can be said of, what all pass or fail, and which comes nearest."""
    found = verdicts(arm)
    found = found.loc[[name for name in found.index if name not in MUST]]
    names = [title(name) for name in found.index[found[VERDICT] == PASS]]
    open_ = int((found[VERDICT] == NO_POWER).sum())
    seeds = tables.count(len(evidence(arm).seeds), "seed")
    told = f"On {arm.name}, {seeds}: **{len(names)} of {tables.count(len(found), 'method')} forget**"
    told += f"{': ' + ', '.join(names) if names else ''}."
    told += f" Of {open_} more nothing can be said at this number of seeds." if open_ else ""
    for verb, verdict in ("passes", PASS), ("fails", FAIL):
        if every := [TITLES[row] for row in found.columns.drop(VERDICT) if (found[row] == verdict).all()]:
            told += f" Each of them {verb}: {', '.join(every)}."
    apart = pd.DataFrame({name: _apart(arm, name) for name in found.index}).T
    arrived = apart[apart["gap"].abs() <= NEAR].sort_values("distance")
    for name, one in arrived.head(1).iterrows():
        told += f" Of those at matched forgetting {title(name)} comes nearest: {one['distance']:.2f} nats"
        told += f" a fact (D_F), where another oracle lies {one['oracle']:.2f} away."
    return Markdown(told)


def _apart(arm: Arm, method: str) -> pd.Series:
    """distance (D_F) and gap of a method, and the distance of another oracle; means over seeds."""
    own, control = judged.numbers(evidence(arm), method, "equivalence")
    return pd.concat([own.mean(), pd.Series({"oracle": control["distance"].mean()})])


def controls_behave(arm: Arm) -> bool:
    """Whether doing nothing and the wrong person fail, and no row fails another oracle."""
    found = verdicts(arm)
    must_fail = [name for name in CONTROLS if name in found.index]
    passes = FAIL not in set(found.loc[judged.ORACLE].drop(VERDICT))
    return bool(passes and (found.loc[must_fail, VERDICT] == FAIL).all())


# -- behind a cell of the grid ----------------------------------------------------------------------------


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


def elsewhere(arms: Sequence[Arm]) -> pd.DataFrame:
    """The verdict on each method by arm; a dash where an arm did not look at it."""
    told = {tables.short(arm.name): verdicts(arm)[VERDICT] for arm in arms}
    table = pd.DataFrame(told).fillna("–")
    table.insert(0, "method", [title(name) for name in table.index])
    return table
