"""Has a method forgotten? The rows of Protocol 2026, their margins and the rule, registered before any run.

Every row compares unlearned models with oracles, read where the path has forgotten as the oracle does
(matched forgetting), and is judged on one number a training seed; KLoM alone on models of one world.
`control` is the same number of a true oracle in the unlearned model's place. `judging` says what pass, fail
and no power are. One more oracle, which sets no margin, is judged as methods are, and must pass: this was
added when all worlds of gpt2-tiny had been seen, and up to then the control was judged by its own margins.

A method forgets if all rows that decide pass. "Nearer to the oracle than to the original" says nothing
without equivalence, and both decide. Leakage and depth have no margin in the protocol: theirs is a tenth of
the scale, as that of quantisation is. `distribution` and `asked` were added when all worlds of gpt2-tiny had
been seen, so that they are shown and do not decide.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearnkit import stats
from unlearnkit.claims.judging import (
    FAIL,
    FEWEST,
    NO_POWER,
    PASS,
    POWER,
    ColumnTest,
    Judgement,
    below,
    columns,
    judged,
    within,
)
from unlearnkit.claims.rule import ALPHA
from unlearnkit.errors import ConfigError

MODELS = 20  # a side, in KLoM and in its null: 40 oracles
CLOSE = 0.05  # of an AUC: the largest mean difference from the oracle's
SEEN = 1e-3  # p that the audit must give of the model before unlearning


@dataclass(frozen=True)
class Row:
    """One row: its number in the protocol, what passes, its margin, and whether the verdict needs it.

    A margin of 0 is taken from the oracles themselves, as `passes` says.
    """

    id: str
    number: int
    passes: str
    margin: float = 0.0
    decides: bool = True


ROWS = (
    Row(
        "klom",
        2,
        "median KLoM over facts is within 95 % of what halves of the oracles show, 20 models a side",
    ),
    Row(
        "relative", 3, "more than half of a seed's facts are nearer to the oracle, in most seeds (sign test)"
    ),
    Row(
        "equivalence",
        4,
        "D_F less the mean distance of oracles is below that (95 % bound), TOST of the gap within it",
    ),
    Row(
        "distribution",
        4,
        "the KS distance of its facts' NLL from the oracle's is below twice another oracle's (95 % bound)",
        decides=False,
    ),
    Row("membership", 5, "AUC less the oracle's is at most 0.05, its 95 % interval within the margin", 0.10),
    Row("audit", 6, "guesses about coins are no better than chance (exact binomial)", decides=False),
    Row("relearning", 7, "TOST of the area between curves within one standard deviation of the oracles'"),
    Row("quantisation", 8, "at int8 and int4 at most the margin's share comes back (95 % bound)", 0.10),
    Row("leakage", 9, "leak@k less the oracle's is at most the margin (95 % bound)", 0.10),
    Row(
        "asked",
        9,
        "asked in the worst of other ways, facts are likelier than to the oracle by the margin at most (95 % "
        "bound, nats)",
        0.10,
        decides=False,
    ),
    Row("depth", 10, "UDS is at most the margin below an oracle's (95 % bound)", 0.10, decides=False),
)
MARGINS = {row.id: row.margin for row in ROWS}


def klom(unlearned: ArrayLike, oracles: ArrayLike) -> Judgement:
    """Row 2, of margins (models, facts) of one world. The interval is that of the median over random halves.

    Beyond the null fails from 10 models a side; to pass takes 20.
    """
    size = min(len(np.asarray(unlearned)), len(np.asarray(oracles)) // 2)
    if size < stats.KLOM_FEWEST:
        why = f"{size} models a side: KLoM is noise below {stats.KLOM_FEWEST}"
        return Judgement(NO_POWER, math.nan, (math.nan, math.nan), why)
    found = stats.klom(unlearned, oracles)
    verdict = FAIL if found.is_beyond_null else PASS if size >= MODELS else NO_POWER
    told = (
        f"{size} models a side ({MODELS} are needed): 95 % of oracles' halves lie below "
        f"{found.null_high:.2f}; a shift of half a standard deviation is found with probability "
        f"{found.power:.2f}"
    )
    return Judgement(verdict, found.median, (found.low, found.high), told)


def relative(unlearned: ArrayLike, oracle: ArrayLike, original: ArrayLike, another: ArrayLike) -> Judgement:
    """Row 3, of a measure (seeds, facts); `another` is a second oracle's. Tells the share of seeds."""
    found, control = (stats.relative(m, oracle, original) for m in (unlearned, another))
    power = stats.sign_power(found.n, control.nearer / control.n, ALPHA)
    share, significant = found.nearer / found.n, found.p < ALPHA
    passes, fails = significant and share > 0.5, significant and share < 0.5
    return judged([ColumnTest(share, (found.ci_low, found.ci_high), passes, fails, power, -share)], found.n)


def equivalence(
    distance: ArrayLike, gap: ArrayLike, oracle_distance: ArrayLike, oracle_gap: ArrayLike
) -> Judgement:
    """Row 4, of D_F and the signed gap to the oracles, one number a seed each, in nats.

    The oracle's are those of one oracle against the others; the margin is its mean D_F. D_F less the margin
    is what is tested, and shown, of the distance: from above only, since a model that is nearer to its oracle
    than another oracle is has forgotten no less.
    """
    margin = float(np.mean(oracle_distance))
    return judged([_no_farther(distance, oracle_distance), within(gap, oracle_gap, margin)], np.size(gap))


def _no_farther(distance: ArrayLike, oracle_distance: ArrayLike) -> ColumnTest:
    """Whether a distance, less another oracle's mean one, is below that."""
    margin = float(np.mean(oracle_distance))
    own, among = (np.asarray(values, float) - margin for values in (distance, oracle_distance))
    return below(own, among, margin)


def distribution(distance: ArrayLike, control: ArrayLike) -> Judgement:
    """Row 4 again, of the KS distance between the facts' NLL and the oracle's, one a seed.

    Twenty facts are alike as a whole long before they are so one by one.
    """
    return judged([_no_farther(distance, control)], np.size(distance))


def membership(differences: ArrayLike, control: ArrayLike) -> Judgement:
    """Row 5, of AUC (forget facts against hold-out persons) less the oracle's: (seeds, attacks)."""
    pairs = columns(differences, control)
    margin = MARGINS["membership"]
    return judged([within(own, c, margin, ALPHA / 2, CLOSE) for own, c in pairs], len(differences))


def audit(correct: int, guesses: int, original_correct: int) -> Judgement:
    """Row 6: right guesses about who was trained on, after unlearning and, of as many, before it.

    Tells the share right; power is that the model before unlearning is seen through.
    """
    found, before = (stats.unlearning_audit(k, guesses, ALPHA) for k in (correct, original_correct))
    sees = before.p < SEEN
    verdict = FAIL if found.p < ALPHA else PASS if sees else NO_POWER
    told = (
        f"{guesses} guesses can prove an eps of {found.ceiling:.2f} at most: they prove {found.eps:.2f} here "
        f"(p = {found.p:.1g}), and {before.eps:.2f} before unlearning (p = {before.p:.1g})"
    )
    return Judgement(verdict, correct / guesses, (found.ci_low, found.ci_high), told)


def relearning(areas: ArrayLike, control: ArrayLike) -> Judgement:
    """Row 7, of the area between a relearning curve and the oracle's, one a seed."""
    spread = float(np.std(control, ddof=1)) if np.size(control) > 1 else math.nan
    return judged([within(areas, control, spread)], np.size(areas))


def quantisation(shares: ArrayLike, control: ArrayLike) -> Judgement:
    """Row 8, of recovered shares (seeds, bit widths). NaN, where nothing had been forgotten, fails."""
    if np.isnan(np.asarray(shares, float)).any():
        return Judgement(FAIL, math.nan, (math.nan, math.nan), "in a seed, nothing had been forgotten")
    pairs = columns(shares, control)
    return judged([below(own, c, MARGINS["quantisation"]) for own, c in pairs], len(shares))


def leakage(excess: ArrayLike, control: ArrayLike, samples: int) -> Judgement:
    """Row 9, of leak@k less the oracle's (seeds, k), each fact having been sampled so often."""
    pairs = columns(excess, control)
    found = judged([below(own, c, MARGINS["leakage"]) for own, c in pairs], len(excess))
    bound = f"; no leak in {samples} samples bounds its rate by {stats.exact_upper(0, samples):.3f}"
    return found._replace(power=found.power + bound)


def asked(likelier: ArrayLike, control: ArrayLike) -> Judgement:
    """Row 9 in other words: by how much facts, asked in their worst way, are likelier than to the oracle."""
    return judged([below(likelier, control, MARGINS["asked"])], np.size(likelier))


def depth(scores: ArrayLike, control: ArrayLike) -> Judgement:
    """Row 10, of UDS, one a seed: what is missing of an oracle's mean is tested, and shown."""
    full = float(np.mean(control))
    own, among = full - np.asarray(scores, float), full - np.asarray(control, float)
    return judged([below(own, among, MARGINS["depth"])], np.size(scores))


def forgets(judgements: Mapping[str, Judgement]) -> str:
    """The verdict on a method, from its rows by id. ConfigError where a row that decides is missing."""
    needed = [row.id for row in ROWS if row.decides]
    if missing := [name for name in needed if name not in judgements]:
        raise ConfigError(f"rows {', '.join(missing)} are missing: a verdict needs {', '.join(needed)}")
    found = {judgements[name].verdict for name in needed}
    return next((verdict for verdict in (FAIL, NO_POWER) if verdict in found), PASS)


def digest() -> str:
    """Of all that is registered here: a test holds it, so that no change passes unseen."""
    told = (POWER, FEWEST, MODELS, CLOSE, SEEN, ALPHA, [asdict(row) for row in ROWS])
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
