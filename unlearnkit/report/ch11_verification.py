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

from unlearnkit.claims import verification
from unlearnkit.claims.judging import FAIL, FEWEST, NO_POWER, PASS, Judgement
from unlearnkit.report import contrasts, figures, side_by_side, tables
from unlearnkit.report.run import Arm, Run
from unlearnkit.study import judged
from unlearnkit.study.judged import Evidence, Observed
from unlearnkit.study.verified import ADVISED, COINS, CONTROLS, IMITATOR, POPULATION
from unlearnkit.unlearning import METHODS

TITLES = {
    "klom": "many models",
    "relative": "nearer to oracle",
    "equivalence": "equivalent",
    "distribution": "distribution",
    "membership": "membership",
    "audit": "coins",
    "relearning": "relearning",
    "quantisation": "rounding",
    "leakage": "sampling",
    "asked": "other words",
    "depth": "inside",
}
VERDICT = "forgets"
DECIDES = {row.id for row in verification.ROWS if row.decides}
TERMS = {
    "TOST": "two one-sided tests: the interval must lie within the margin",
    "KLoM": "the divergence between what two populations of models answer, fact by fact",
    "AUC": "the chance that an attack puts a fact of the person above a stranger's",
    "loss, zlib, min_k, min_k_pp, reference": "attacks by the loss, its share of what zlib needs, the least "
    "likely tokens, these normalised, and the loss less that before training",
    "UDS": "unlearning depth, 1 where nothing is left",
    "eps": "the privacy budget that right guesses prove spent",
}
MUST = {judged.ORACLE: "another oracle", "noop": "nothing done", "wrong_person": "wrong person"}
MUST |= {IMITATOR: "oracle's imitator"}  # which has forgotten nothing, and answers as the oracle does
EMBEDDING = "AdamW's, embedding"
MARKS = {PASS: "✓", FAIL: "✗", NO_POWER: "?"}  # read without colour
SHADES = {PASS: "#BFE3D0", FAIL: "#F2B59B", NO_POWER: "#ECECEC"}


def of_run(run: Run) -> list[Arm]:
    """The arms of a run that verify methods, the one in most worlds first; none where it did not look."""
    found = [arm for arm in run.arms if len(arm.observations("verified"))]
    return sorted(found, key=lambda arm: -arm.observations("verified")["seed"].nunique())


def further(arms: Sequence[Arm]) -> list[Arm]:
    """Of `of_run`, those after the first with worlds enough for a verdict: they have a grid of their own."""
    return [arm for arm in arms[1:] if len(evidence(arm).seeds) >= FEWEST]


WANTED = {
    "all tests on gpt2-tiny": "seeds_verified",
    "all tests on the other small models": "seeds_verified_beside",
    "all tests on the run's own model": "seeds_verified_main",
    "worlds of further models": "seeds_further",
    "worlds of coins": "seeds_audit",
    "worlds of many models": "seeds_klom",
}


def warnings(run: Run, wanted: dict[str, str] = WANTED) -> Markdown | None:
    """What stands above a page where a run verifies no method, or in fewer worlds than were registered."""
    if of_run(run):
        return Markdown(told) if (told := contrasts.interim(run, wanted)) else None
    return Markdown(
        "> ⚠ **This run verified no method**, and shows nothing here. Runs of the profile `full` verify the "
        'principal methods, and others of the built-in study with `P="seeds_verified=8"`.'
    )


def interim(run: Run) -> str:
    """What stands above a summary of the comparison and of the tests where worlds are still lacking."""
    return contrasts.interim(run, side_by_side.WANTED | WANTED)


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
    """By method and row; what must pass or fail first, then the methods in tables' order, then ADVISED."""
    known = evidence(arm)
    names = dict.fromkeys(name for name in (*MUST, *METHODS, ADVISED) if name in known.methods)
    return {name: judged.judgements(known, name) for name in names}


def title(method: str) -> str:
    return (MUST | {ADVISED: EMBEDDING}).get(method) or METHODS[method].title


def terms() -> pd.DataFrame:
    """What the page's short names stand for."""
    return pd.DataFrame(TERMS.items(), columns=["term", "meaning"])


# -- the grid ---------------------------------------------------------------------------------------------


def verdicts(arm: Arm) -> pd.DataFrame:
    """A row a method (the index), a column a row of the protocol, and the verdict on the method."""
    found = judgements(arm)
    told = {name: {row: one.verdict for row, one in rows.items()} for name, rows in found.items()}
    table = pd.DataFrame.from_dict(told, orient="index")
    return table.assign(**{VERDICT: [verification.forgets(rows) for rows in found.values()]})


def grid(arm: Arm) -> plt.Figure:
    """Methods x tests: ✓ pass, ✗ fail, ? no power, – not asked; the last column is the verdict.

    Lines part what must pass or fail from the methods, and these from the setting that notebook 10 advises.
    """
    table = verdicts(arm)
    codes = table.map(list(MARKS).index).to_numpy()
    drawn, ax = figures.figure(1.2 + 0.27 * len(table))
    ax.imshow(codes, cmap=ListedColormap([SHADES[v] for v in MARKS]), vmin=0, vmax=2, aspect="auto")
    for (y, x), mark in np.ndenumerate(marks(arm).to_numpy()):
        ax.text(x, y, mark, ha="center", va="center", color=figures.INK, fontsize=10)
    wide, tall = table.shape[1], len(table)
    names = [TITLES.get(name, name) + "*" * (name not in DECIDES | {VERDICT}) for name in table]
    ax.set_xticks(range(wide), names, rotation=35, ha="left")
    ax.xaxis.tick_top()
    ax.set_xlabel(f"{tables.short(arm.name)}, {tables.count(len(evidence(arm).seeds), 'world')}")
    ax.set_yticks(range(tall), [title(name) + " (a setting)" * (name == ADVISED) for name in table.index])
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(wide - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(tall - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", lw=2)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    ax.axvline(wide - 1.5, color=figures.INK, lw=1)
    ax.axhline(sum(name in MUST for name in table.index) - 0.5, color=figures.INK, lw=1)
    if ADVISED in table.index:  # the last row, which is a setting and no method of its own
        ax.axhline(tall - 1.5, color=figures.INK, lw=1)
    return drawn


def marks(arm: Arm) -> pd.DataFrame:
    """`verdicts` as marks; a test without a number that had no power to tell was not asked."""
    told = {name: {row: one.estimate for row, one in rows.items()} for name, rows in judgements(arm).items()}
    found, table = verdicts(arm), pd.DataFrame.from_dict(told, orient="index")
    unasked = (found[table.columns] == NO_POWER) & table.isna()
    return found.map(MARKS.get).mask(unasked.reindex(columns=found.columns, fill_value=False), "–")


def tested(arm: Arm) -> pd.DataFrame:
    """`verdicts` of the methods on all layers, without what must pass or fail."""
    found = verdicts(arm)
    return found[~found.index.isin([*MUST, ADVISED])]


def nearest(arm: Arm) -> str | None:
    """Of the methods that got to matched forgetting in most seeds, the one with the least mean D_F."""
    walked = arm.observations("verified").groupby(["method", "seed"])["reached"].first()
    often = walked.eq(True).groupby("method").mean()
    apart = distances(arm)
    return min((name for name in apart if often[name] > 0.5), key=apart.get, default=None)


def distances(arm: Arm) -> dict[str, float]:
    """D_F of each method of `tested`, mean over seeds."""
    return {name: _apart(arm, name)[0] for name in tested(arm).index}


def sentence(arm: Arm) -> Markdown:
    """Which methods pass, how many are open, what all pass or fail (*: decides nothing), the nearest one."""
    found = tested(arm)
    names = [title(name) for name in found.index[found[VERDICT] == PASS]]
    open_ = int((found[VERDICT] == NO_POWER).sum())
    seeds = tables.count(len(evidence(arm).seeds), "seed")
    told = f"On {arm.name}, {seeds}: **{len(names)} of {tables.count(len(found), 'method')} pass every test "
    told += f"that decides**{': ' + ', '.join(names) if names else ''}."
    told += f" Of {open_} of them nothing can be said at this number of seeds." if open_ else ""
    for verb, verdict in ("passes", PASS), ("fails", FAIL):
        every = [row for row in found.columns.drop(VERDICT) if (found[row] == verdict).all()]
        names = [TITLES[row] + r"\*" * (row not in DECIDES) for row in every]
        told += f" Each of them {verb}: {', '.join(names)}." if names else ""
    told += r" (\* decides nothing.)" if r"\*" in told else ""
    if not evidence(arm).populations:
        told += " *Many models*, which decides, was not asked here: a method could fail, and not pass."
    if best := nearest(arm):
        apart, oracle = distances(arm), _apart(arm, best)[1]
        told += f" Of those at matched forgetting {title(best)} comes nearest: {apart[best]:.2f} nats"
        told += f" a fact (D_F), where another oracle lies {oracle:.2f} away"
        if (nearer := min(apart, key=apart.get)) != best:
            told += f"; {title(nearer)}, which does not end there, lies nearer still ({apart[nearer]:.2f})"
        told += "."
    return Markdown(told)


def sentences(run: Run) -> list[str]:
    """The sentence of each arm with worlds enough for one."""
    return [sentence(arm).data for arm in of_run(run) if len(evidence(arm).seeds) >= FEWEST]


def readme(run: Run) -> str:
    """The answer for the README; "" where a run has none."""
    lead = "**Forgotten, or only hidden?** (`notebooks/11_verification`)"
    return "".join(f"\n{lead} {one}\n" for one in sentences(run))


def _apart(arm: Arm, method: str) -> tuple[float, float]:
    """The distance (D_F) of a method, and of another oracle; means over seeds."""
    return tuple(t["distance"].mean() for t in judged.numbers(evidence(arm), method, "equivalence"))


def controls_behave(arm: Arm) -> bool:
    """Whether doing nothing and the wrong person fail, and no row fails another oracle."""
    found = verdicts(arm)
    must_fail = [name for name in CONTROLS if name in found.index]
    passes = FAIL not in set(found.loc[judged.ORACLE].drop(VERDICT))
    return bool(passes and (found.loc[must_fail, VERDICT] == FAIL).all())


def blind(arm: Arm) -> list[str]:
    """The tests that the wrong person passes, by their titles."""
    found = verdicts(arm).drop(columns=VERDICT).T.get("wrong_person", pd.Series(dtype=object))
    return [TITLES[row] for row in found.index[found == PASS]]


def elsewhere(arms: Sequence[Arm]) -> pd.DataFrame:
    """The verdict on each method by arm; a dash where an arm did not look at it."""
    told = {tables.short(arm.name): verdicts(arm)[VERDICT] for arm in arms}
    table = pd.DataFrame(told).fillna("–")
    table.insert(0, "method", [title(name) for name in table.index])
    return table
