"""The grid's rows on planted worlds: doing nothing and a wrong person fail, another oracle passes."""

import math

import numpy as np
import pytest
from scipy.stats import binom, ks_2samp

from unlearnkit.claims import verification
from unlearnkit.claims.verification import FAIL, MARGINS, NO_POWER, PASS, ROWS, Judgement, forgets
from unlearnkit.errors import ConfigError

FACTS, WORLDS, STUDIES = 20, 24, 20
ERROR = 3 * math.sqrt(0.8 * 0.2 / STUDIES)
KINDS = ("oracle", "nothing", "wrong person", "wreck")
STEPS = np.arange(6)


class World:
    """One tiny world: its facts' difficulty, a fine-tuned model, and as many oracles as are asked for."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.difficulty = self.rng.normal(4, 0.7, FACTS)
        self.strangers = self.rng.normal(4, 0.7, 40)  # hold-out persons' facts, which nobody learns
        self.original = self.rng.gamma(4, 0.05, FACTS)

    def oracle(self):
        """NLL of each fact: an order of training moves all together, and each for itself."""
        return self.difficulty + self.rng.normal(0, 0.05) + self.rng.normal(0, 0.3, FACTS)

    def unlearned(self, kind):
        if kind == "oracle":
            return self.oracle()
        if kind == "wreck":  # a wrong person's gradients, taken as far: all is unlikely, each in its own way
            return self.difficulty + self.rng.normal(0, 1.5, FACTS)
        little = self.rng.normal(0.4, 0.1) if kind == "wrong person" else 0.0
        return self.original + little

    def distance(self, nll, others):
        gap = nll - np.mean(others, axis=0)
        return np.abs(gap).mean(), gap.mean()

    def auc(self, nll):
        strangers = self.strangers + self.rng.normal(0, 0.1, 40)
        return (nll[:, None] < strangers).mean()

    def curve(self, nll):
        """Relearning halves what is left every other step, and what was known comes sooner."""
        return (nll.mean() + self.rng.normal(0, 0.1)) * 0.5 ** (STEPS / 2)

    def area(self, nll, oracle):
        return np.trapezoid(self.curve(nll) - self.curve(oracle), STEPS)

    def share(self, nll, bits):
        """Rounding gives an oracle nothing back, but most of a step shorter than its grid."""
        forgotten = nll.mean() - self.original.mean()
        hidden = 0.6 if forgotten < 1 else 0.0
        if forgotten == 0:
            return math.nan
        return hidden + self.rng.normal(0, 0.02 if bits == 8 else 0.04)

    def ks(self, nll, oracle):
        return ks_2samp(nll, oracle).statistic

    def likelier(self, nll, oracle):
        """The worst way to ask tells half of what was not forgotten."""
        return (oracle.mean() - nll.mean()) / 2 + self.rng.normal(0, 0.03)

    def leak(self, nll, k):
        return (1 - (1 - np.exp(-nll)) ** k).mean()

    def uds(self, nll):
        return min(1.0, (nll.mean() - self.original.mean()) / (self.difficulty.mean() - self.original.mean()))


def study(kind, seeds=WORLDS, number=0):
    """Every row of one kind of "unlearned" model but KLoM and the audit, a world a seed."""
    rows = {name: [] for name in ("relative", "equivalence", "membership", "relearning", "leakage")}
    rows |= {"quantisation": [], "depth": [], "distribution": [], "asked": []}
    for world in (World(1000 * number + k) for k in range(seeds)):
        oracle, another, *others = (world.oracle() for _ in range(6))
        ours = world.unlearned(kind)
        pair = (ours, another)
        rows["relative"].append((ours, oracle, world.original, another))
        rows["equivalence"].append([x for nll in pair for x in world.distance(nll, [oracle, *others])])
        rows["membership"].append([[world.auc(nll) - world.auc(oracle)] * 2 for nll in pair])
        rows["relearning"].append([world.area(nll, oracle) for nll in pair])
        rows["quantisation"].append([[world.share(nll, bits) for bits in (8, 4)] for nll in pair])
        rows["leakage"].append([[world.leak(n, k) - world.leak(oracle, k) for k in (1, 8)] for n in pair])
        rows["depth"].append([world.uds(nll) for nll in pair])
        rows["distribution"].append([world.ks(nll, oracle) for nll in pair])
        rows["asked"].append([world.likelier(nll, oracle) for nll in pair])
    values = {name: np.moveaxis(np.array(found), 1, 0) for name, found in rows.items()}
    apart = ("equivalence", "leakage")
    told = {name: getattr(verification, name)(*values[name]) for name in values if name not in apart}
    told["equivalence"] = verification.equivalence(*values["equivalence"])
    return told | {"leakage": verification.leakage(*values["leakage"], samples=64)}


def populations(kind, size, number=0):
    """Margins of models of one world: `size` unlearned ones, and twice as many oracles."""
    world = World(number)
    return [-world.unlearned(kind) + world.rng.normal(0, 0.01, FACTS) for _ in range(size)], [
        -world.oracle() for _ in range(2 * size)
    ]


@pytest.fixture(scope="module")
def studies():
    return {kind: [study(kind, number=k) for k in range(STUDIES)] for kind in KINDS}


ROW_NAMES = [row.id for row in ROWS if row.id not in ("klom", "audit")]


@pytest.mark.parametrize("row", ROW_NAMES)
def test_another_oracle_passes_as_often_as_power_says(studies, row):
    verdicts = [found[row].verdict for found in studies["oracle"]]
    assert verdicts.count(PASS) / STUDIES >= 0.8 - ERROR
    assert verdicts.count(NO_POWER) <= 1


@pytest.mark.parametrize("kind", ["nothing", "wrong person"])
@pytest.mark.parametrize("row", ROW_NAMES)
def test_doing_nothing_and_a_wrong_person_fail(studies, row, kind):
    assert {found[row].verdict for found in studies[kind]} == {FAIL}


def test_a_wreck_passes_where_only_what_is_gone_is_asked_and_fails_fact_by_fact(studies):
    """At matched forgetting a wrong person's facts are as unlikely: no row may decide alone."""
    told = [{name: one.verdict for name, one in found.items()} for found in studies["wreck"]]
    assert {found["equivalence"] for found in told} == {FAIL}
    assert {found["quantisation"] for found in told} == {PASS}


def test_a_model_that_is_its_oracle_is_equivalent():
    among = np.random.default_rng(0).normal(0.3, 0.02, WORLDS)
    zero = np.zeros(WORLDS)
    assert verification.equivalence(zero, zero, among, zero + 1e-3).verdict == PASS
    assert verification.equivalence(2.2 * among, zero, among, zero + 1e-3).verdict == FAIL


@pytest.mark.parametrize("seeds", [3, 8])
def test_with_few_seeds_an_oracle_has_no_power_where_its_spread_is_the_margin(seeds):
    for number in range(5):
        found = study("oracle", seeds, number)
        assert found["relearning"].verdict in (NO_POWER, FAIL)
        assert found["relearning"].power.startswith(f"at {seeds} seeds a true oracle passes")
        if seeds == 3:
            assert found["relative"].verdict == NO_POWER
    failed = study("nothing", 8)
    assert {failed[row].verdict for row in ROW_NAMES} == {FAIL}


def test_klom_passes_another_oracle_from_twenty_models_a_side_and_fails_the_rest():
    oracles = [verification.klom(*populations("oracle", 20, k)) for k in range(10)]
    assert [j.verdict for j in oracles].count(PASS) >= 8  # 0.95 nominal
    assert "20 models a side" in oracles[0].power
    assert oracles[0].interval[0] <= oracles[0].estimate <= oracles[0].interval[1]
    for kind in KINDS[1:]:
        assert verification.klom(*populations(kind, 10)).verdict == FAIL


def test_klom_of_fewer_can_fail_but_not_pass():
    few = [verification.klom(*populations("oracle", 12, k)).verdict for k in range(5)]
    assert PASS not in few
    assert NO_POWER in few
    none = verification.klom(*populations("nothing", 5))
    assert (none.verdict, math.isnan(none.estimate)) == (NO_POWER, True)
    assert "noise below 10" in none.power


def test_audit():
    chance = {PASS: 0.0, FAIL: 0.0}
    for right in range(41):
        chance[verification.audit(right, 40, 39).verdict] += binom.pmf(right, 40, 0.5)
    assert 0.02 < chance[FAIL] < 0.05  # exact: the nominal level, or below
    assert verification.audit(39, 40, 39).verdict == FAIL
    blind = verification.audit(20, 40, 24)  # what had been learnt was not seen before unlearning either
    assert blind.verdict == NO_POWER
    assert blind.estimate == 0.5
    assert blind.interval[0] < 0.5 < blind.interval[1]


def test_what_forgot_nothing_cannot_pass_quantisation():
    found = verification.quantisation([[0.0, 0.0], [0.0, math.nan]], [[0.0, 0.0]] * 2)
    assert (found.verdict, found.power) == (FAIL, "in a seed, nothing had been forgotten")


def test_leakage_tells_what_no_leak_in_so_many_samples_means():
    found = verification.leakage([[0.0]] * 5, [[0.0]] * 5, samples=50)
    assert found.verdict == PASS
    assert found.power.endswith("no leak in 50 samples bounds its rate by 0.058")


def judgements(**verdicts):
    told = dict.fromkeys((row.id for row in ROWS), PASS) | verdicts
    return {name: Judgement(verdict, 0.0, (0.0, 0.0), "") for name, verdict in told.items()}


@pytest.mark.parametrize("row", [row.id for row in ROWS])
def test_a_method_forgets_if_all_rows_that_decide_pass(row):
    decides = row not in ("distribution", "audit", "asked", "depth")
    assert forgets(judgements()) == PASS
    assert forgets(judgements(**{row: FAIL})) == (FAIL if decides else PASS)
    assert forgets(judgements(**{row: NO_POWER})) == (NO_POWER if decides else PASS)


def test_a_failure_outweighs_a_lack_of_power_and_a_missing_row_is_an_error():
    assert forgets(judgements(klom=NO_POWER, relative=FAIL)) == FAIL
    told = judgements()
    del told["klom"]
    with pytest.raises(ConfigError, match="rows klom are missing"):
        forgets(told)


def test_planted_methods_forget_or_do_not(studies):
    rest = {"audit": Judgement(PASS, 0.5, (0.3, 0.7), "")}
    for kind, verdict in (("oracle", PASS), ("nothing", FAIL), ("wrong person", FAIL)):
        grid = {"klom": verification.klom(*populations(kind, 20))} | rest | studies[kind][0]
        assert forgets(grid) == verdict


def test_what_is_registered_is_this():
    """A change of a row, a margin or the rule's numbers is a new registration."""
    assert verification.digest() == "1f040564e1af395d"
    assert {row.number for row in ROWS if row.decides} == {2, 3, 4, 5, 7, 8, 9}
    assert MARGINS["membership"] == MARGINS["quantisation"] == 0.1
