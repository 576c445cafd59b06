"""Verdicts from observations: the protocol's rows for one method on one model (`claims.verification`).

Every row but two is judged on a table of numbers, a row a training seed, made in the same way of the
unlearned model and, as the control, of a second oracle in its place. KLoM is judged on many models of one
world, the audit on guesses of all seeds together. Imports no torch.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import verification
from unlearnkit.claims.judging import FAIL, NO_POWER, Judgement
from unlearnkit.study.config import COIN_PERSONS, VERIFIED
from unlearnkit.study.verified import ATTACKS

GUESSED = (
    COIN_PERSONS // 4
)  # persons of a seed guessed in, the likeliest, and as many out; no guess on others
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


# -- numbers ----------------------------------------------------------------------------------------------


def facts(rows: pd.DataFrame, metric: str = "nll") -> pd.DataFrame:
    """A metric of the forget facts: seeds x facts, NaN where another seed's world has the fact."""
    here = rows[(rows["metric"] == metric) & (rows["split"] == "forget")]
    return here.pivot_table("value", "seed", "example")


def relative(own: pd.DataFrame, oracle: pd.DataFrame, original: pd.DataFrame) -> pd.DataFrame:
    """The share of facts whose NLL is nearer to the oracle's than to the original's."""
    found = stats.relative(*_alike(own, oracle, original))
    return pd.DataFrame({"share": found.shares}, index=facts(own).index)


def equivalence(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """D_F and the signed gap to the oracle, nats."""
    away = facts(own) - facts(oracle)
    return pd.DataFrame({"distance": away.abs().mean(axis=1), "gap": away.mean(axis=1)})


def membership(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """Each attack's AUC of forget facts against hold-out persons', less the oracle's."""
    return pd.DataFrame({attack: _auc_differences(own, oracle, f"mia_{attack}") for attack in ATTACKS})


def _auc_differences(own: pd.DataFrame, oracle: pd.DataFrame, metric: str) -> pd.Series:
    scores = [
        rows[rows["metric"] == metric].set_index(["seed", "split", "example"])["value"].sort_index()
        for rows in (own, oracle)
    ]
    both = pd.concat(scores, axis=1, join="inner")
    found = {}
    for seed, here in both.groupby(level="seed"):
        members, others = (here.xs(split, level="split") for split in ("forget", "holdout"))
        pairs = [(members.iloc[:, k].to_numpy(), others.iloc[:, k].to_numpy()) for k in (0, 1)]
        found[seed] = stats.auc_difference(*pairs).difference
    return pd.Series(found, dtype=float)


def relearning(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """`area` where the facts taught are other facts of the person."""
    return pd.DataFrame({"area": area(own, oracle)})


def area(own: pd.DataFrame, oracle: pd.DataFrame, taught: str = "half") -> pd.Series:
    """The area between the curves of the held facts' NLL, less the oracle's, in nats x steps: one a seed.

    `taught` is "half", other facts of the person, or "others", facts that nobody knew.
    """
    apart = (curves(own, taught) - curves(oracle, taught)).dropna(axis=0, how="all")
    return pd.Series(np.trapezoid(apart, apart.columns, axis=1), apart.index)


def curves(rows: pd.DataFrame, taught: str = "half") -> pd.DataFrame:
    """Mean NLL of the held facts while others are taught: a row a seed, a column an optimizer step."""
    return rows[rows["metric"] == f"relearnt_{taught}"].pivot_table("value", "seed", "step")


def quantisation(own: pd.DataFrame, _oracle: pd.DataFrame, original: pd.DataFrame) -> pd.DataFrame:
    """The share of what was forgotten that rounding brings back, of mean NLLs; NaN where nothing was.

    (NLL_U - NLL_Uq) / (NLL_U - NLL_original), as `metrics.recovered_share`.
    """
    before, after = facts(original).mean(axis=1), facts(own).mean(axis=1)
    forgotten = (after - before).reindex(after.index)
    back = {f"int{b}": after - facts(own, f"nll_int{b}").mean(axis=1) for b in VERIFIED["bits"]}
    return pd.DataFrame(back).div(forgotten.where(forgotten > 0), axis=0)


def leakage(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """leak@k (all words of the answer said), mean over facts, less the oracle's."""
    counts = VERIFIED["leaks"]
    return pd.DataFrame({k: _mean(own, f"leak_{k}") - _mean(oracle, f"leak_{k}") for k in counts}).dropna()


def depth(own: pd.DataFrame, _oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """UDS, mean over facts."""
    return pd.DataFrame({"uds": _mean(own, "uds")})


def _mean(rows: pd.DataFrame, metric: str) -> pd.Series:
    return facts(rows, metric).mean(axis=1)


def _alike(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The NLL of the same facts and seeds in each, those of the first."""
    found = [facts(rows) for rows in tables]
    return [table.reindex_like(found[0]) for table in found]


NUMBERS: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {
    row.__name__: row for row in (relative, equivalence, membership, relearning, quantisation, leakage, depth)
}


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


def forgets(known: Evidence, method: str) -> str:
    """The verdict on a method."""
    return verification.forgets(judgements(known, method))


def _judged(known: Evidence, method: str, row: str) -> Judgement:
    own, control = numbers(known, method, row)
    if missing := _missing(known.seeds, own):
        return Judgement(
            FAIL, *NOTHING, f"in {missing} of {len(known.seeds)} seeds nothing could be measured"
        )
    if row == "relative":
        worlds = known.worlds
        tables = worlds.of(method), worlds.oracle(), worlds.of(ORIGINAL), worlds.oracle(2)
        return verification.relative(*_alike(*tables))
    if row == "equivalence":
        return verification.equivalence(*(t[c] for t in (own, control) for c in ("distance", "gap")))
    if row == "leakage":
        return verification.leakage(own, control, max(VERIFIED["leaks"]))
    flat = row in ("relearning", "depth")
    return getattr(verification, row)(*(t.iloc[:, 0] if flat else t for t in (own, control)))


def _missing(seeds: Collection[int], own: pd.DataFrame) -> int:
    return len(set(seeds) - set(own.index))


def klom(populations: Sequence[Observed], method: str) -> Judgement:
    """Row 2 in each world; the verdict of most worlds, with the numbers of the middle one that has it."""
    if method == ORACLE:
        return Judgement(NO_POWER, *NOTHING, "the oracles are what the null is made of")
    found = [_klom(world, method) for world in populations if len(world.of(method))]
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


def _klom(world: Observed, method: str) -> Judgement:
    tables = [facts(rows).dropna(axis=1) for rows in (world.of(method), world.oracle())]
    return verification.klom(*(stats.log_odds(table) for table in tables))


def audit(coins: Observed | None, method: str) -> Judgement:
    """Row 6: guesses about who was trained on, after unlearning and before."""
    if coins is None or not len(coins.of(method)):
        return Judgement(NO_POWER, *NOTHING, "no coins were thrown for this model")
    own, original = coins.of(method), coins.of(ORIGINAL)
    (correct, of), (before, every) = guesses(own), guesses(original)
    diverged = every - of  # guesses in seeds without a model: whoever sees that knows, as in the other rows
    return verification.audit(correct + diverged, every, before)


def guesses(rows: pd.DataFrame) -> tuple[int, int]:
    """(right, all): in each seed the likeliest persons are guessed in, the least likely out."""
    scores = rows[rows["metric"] == "mia_reference"]
    right = every = 0
    for _, seed in scores.groupby("seed"):
        order = seed.sort_values("value")["split"].to_numpy()
        right += int((order[:GUESSED] == "holdout").sum() + (order[-GUESSED:] == "forget").sum())
        every += 2 * GUESSED
    return right, every
