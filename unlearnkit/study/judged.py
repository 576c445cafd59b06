"""Verdicts from observations: the protocol's rows for one method on one model (`claims.verification`).

Every row but two is judged on a table of numbers, a row a training seed (`judged_on`), made in the same way
of the unlearned model and, as the control, of a second oracle in its place. A third oracle is judged as the
methods are: it has no part in the margins. KLoM is judged on many models of one world, the audit on guesses
of all seeds together. Imports no torch.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from unlearnkit.claims import verification
from unlearnkit.claims.judging import FAIL, NO_POWER, Judgement
from unlearnkit.study.config import FIRST_ORDER, POPULATION, VERIFIED
from unlearnkit.study.judged_on import NUMBERS, alike, guesses, margins

ORIGINAL = "noop"  # whose rows are those of the model before unlearning
ORACLE = "oracle"  # another oracle, judged in an unlearned model's place
NOTHING = (math.nan, (math.nan, math.nan))


@dataclass(frozen=True)
class Observed:
    """Rows of the stages `verified` (by method) and `verified_oracles` (by order), of some training seeds."""

    methods: pd.DataFrame
    oracles: pd.DataFrame

    def of(self, method: str) -> pd.DataFrame:
        """A method's rows, or those of the last oracle."""
        if method == ORACLE:
            return self.oracle(self.oracles["order"].max())
        return self.methods[self.methods["method"] == method]

    def oracle(self, order: int = 1) -> pd.DataFrame:
        return self.oracles[self.oracles["order"] == order]


@dataclass(frozen=True)
class Evidence:
    """What is known of one model: its worlds, the coins' (without rows where none were thrown), populations.

    Those of a model that has no such variant are empty.
    """

    worlds: Observed
    coins: Observed | None = None
    populations: Sequence[Observed] = field(default_factory=tuple)

    @cached_property
    def seeds(self) -> list[int]:
        return sorted(self.worlds.of(ORIGINAL)["seed"].unique())

    @cached_property
    def methods(self) -> list[str]:
        """Those measured, the oracle that stands in an unlearned model's place last."""
        return [*dict.fromkeys(self.worlds.methods["method"]), ORACLE]


def numbers(known: Evidence, method: str, row: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a row is judged on, seeds x columns: of the method, and of the second oracle."""
    worlds = known.worlds
    given = worlds.oracle(), worlds.of(ORIGINAL)
    return tuple(_of_seeds(NUMBERS[row](own, *given), own) for own in (worlds.of(method), worlds.oracle(2)))


def _of_seeds(table: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The table's seeds that the model has rows of."""
    return table[table.index.isin(own["seed"])]


# -- judgements -------------------------------------------------------------------------------------------


def judgements(known: Evidence, method: str) -> dict[str, Judgement]:
    """Every row of the protocol, by its id, for one method."""
    found = {row.id: _judged(known, method, row.id) for row in verification.ROWS if row.id in NUMBERS}
    found |= {"klom": klom(known.populations, method), "audit": audit(known.coins, method)}
    return {row.id: found[row.id] for row in verification.ROWS}


def _judged(known: Evidence, method: str, row: str) -> Judgement:
    own, control = numbers(known, method, row)
    if missing := _missing(known.seeds, own):
        return Judgement(
            FAIL, *NOTHING, f"in {missing} of {len(known.seeds)} seeds nothing could be measured"
        )
    if row == "relative":
        worlds = known.worlds
        tables = worlds.of(method), worlds.oracle(), worlds.of(ORIGINAL), worlds.oracle(2)
        return verification.relative(*alike(*tables))
    if row == "equivalence":
        return verification.equivalence(*(t[c] for t in (own, control) for c in ("distance", "gap")))
    if row == "leakage":
        return verification.leakage(own, control, max(VERIFIED["leaks"]))
    flat = row in ("distribution", "relearning", "asked", "depth")
    return getattr(verification, row)(*(t.iloc[:, 0] if flat else t for t in (own, control)))


def _missing(seeds: Collection[int], own: pd.DataFrame) -> int:
    return len(set(seeds) - set(own.index))


def klom(populations: Sequence[Observed], method: str) -> Judgement:
    """Row 2 in each world; the verdict of most worlds, with the numbers of the middle one that has it."""
    pairs = [population(world, method) for world in populations]
    found = [verification.klom(own, oracles) for own, oracles in pairs if len(own)]
    if not found:
        return Judgement(NO_POWER, *NOTHING, "no world of this model was trained in many orders")
    verdicts = [one.verdict for one in found]
    most = max(dict.fromkeys(verdicts), key=verdicts.count)
    if 2 * verdicts.count(most) <= len(found):
        most = NO_POWER
    agreed = sorted((one for one in found if one.verdict == most), key=lambda one: one.estimate) or found
    middle = agreed[len(agreed) // 2]
    told = f"{verdicts.count(most)} of {len(found)} worlds; in this one, {middle.power}"
    return middle._replace(verdict=most, power=told)


def population(world: Observed, method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Margins of the models of one world: those of a method, or oracles in their place, and the oracles."""
    every = margins(world.oracle())
    oracles = every[every.index < FIRST_ORDER + POPULATION]
    return every.drop(oracles.index) if method == ORACLE else margins(world.of(method)), oracles


def audit(coins: Observed | None, method: str) -> Judgement:
    """Row 6: guesses about who was trained on, after unlearning and before."""
    if coins is None or not len(coins.of(method)):
        return Judgement(NO_POWER, *NOTHING, "no coins were thrown for this model")
    own, original = coins.of(method), coins.of(ORIGINAL)
    (correct, of), (before, every) = (guesses(rows).sum() for rows in (own, original))
    diverged = every - of  # guesses in seeds without a model: whoever sees that knows, as in the other rows
    return verification.audit(correct + diverged, every, before)
