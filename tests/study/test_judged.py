"""Verdicts from observations: planted controls behave, and every judgement rests on numbers that are told."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from unlearnkit.claims.judging import FAIL, NO_POWER, PASS
from unlearnkit.claims.verification import MODELS, ROWS
from unlearnkit.study import judged
from unlearnkit.study.config import COIN_PERSONS, VERIFIED
from unlearnkit.study.judged import Evidence, Observed
from unlearnkit.study.verified import ATTACKS

FACTS, STRANGERS, WORLDS = 20, 40, 24
BEFORE = 0.4  # nats: what the original knows of each fact


def rows(seed, metric, values, split="forget", **more):
    told = {"seed": seed, "split": split, "metric": metric, "value": values}
    return pd.DataFrame(told | {"example": [f"{seed}/{split}/{k}" for k in range(len(values))]} | more)


class World:
    """Facts of some difficulty to whom they are new; a model's rows follow from the NLL it gives them."""

    def __init__(self, seed):
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.difficulty = self.rng.normal(4, 0.5, FACTS)
        self.strangers = self.rng.normal(4, 0.5, STRANGERS)

    def oracle(self):
        return self.difficulty + self.rng.normal(0, 0.03) + self.rng.normal(0, 0.2, FACTS)

    def observed(self, nll, hidden=False, **labels):
        """A model's rows; what is hidden comes back as soon as somebody looks."""
        seed, back = self.seed, 0.5 if hidden else 0.0
        strangers = self.strangers + self.rng.normal(0, 0.05, STRANGERS)
        parts = [rows(seed, "nll", nll)]
        for attack in ATTACKS:
            parts += [rows(seed, f"mia_{attack}", -nll), rows(seed, f"mia_{attack}", -strangers, "holdout")]
        for bits in VERIFIED["bits"]:
            noise = self.rng.normal(0, 0.01, FACTS)
            parts.append(rows(seed, f"nll_int{bits}", nll - back * (nll - BEFORE) + noise))
        known = nll.mean() < 1 or hidden
        for k in VERIFIED["leaks"]:
            parts.append(rows(seed, f"leak_{k}", self.rng.uniform(0, 0.02, FACTS) + 0.4 * known))
        depth = np.clip((nll - BEFORE) / (self.difficulty - BEFORE), 0, 1) * (1 - back)
        parts.append(rows(seed, "uds", depth))
        for step in VERIFIED["relearn"]:
            level = nll.mean() * (0.5 if hidden and step else 1.0) * 0.8 ** (step / 4)
            parts.append(
                rows(seed, "relearnt_half", [level + self.rng.normal(0, 0.05)], "held", step=float(step))
            )
        return pd.concat(parts).assign(**labels)


def study(worlds=WORLDS):
    methods, oracles = [], []
    for seed in range(worlds):
        world = World(seed)
        first = world.oracle()
        oracles += [world.observed(first, order=1), world.observed(world.oracle(), order=2)]
        original = np.full(FACTS, BEFORE)
        models = {"noop": original, "wrong_person": original + world.rng.normal(0.3, 0.05, FACTS)}
        for name, nll in (models | {"good": world.oracle()}).items():
            methods.append(world.observed(nll, method=name))
        methods.append(world.observed(world.oracle(), hidden=True, method="hiding"))
    return Observed(pd.concat(methods), pd.concat(oracles))


def population(shift=0.0, models=MODELS, seed=0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(3, 0.5, FACTS)

    def some(count, shift):
        # facts of one world: the same ids whatever the order of training
        found = [
            rows(0, "nll", centre + shift + rng.normal(0, 0.2, FACTS)).assign(seed=k) for k in range(count)
        ]
        return pd.concat(found)

    unlearned = some(models, shift).assign(method="good")
    return Observed(unlearned, some(2 * models, 0.0).assign(order=1))


def thrown(seeds=WORLDS):
    """Before unlearning heads are likelier; after it nothing tells them."""
    parts = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        heads = np.where(rng.random(COIN_PERSONS) < 0.5, "forget", "holdout")
        for name, effect in {"noop": 3.0, "good": 0.0, "hiding": 1.5}.items():
            value = rng.normal(0, 1, COIN_PERSONS) + effect * (heads == "forget")
            parts.append(rows(seed, "mia_reference", value).assign(split=heads, method=name))
    return Observed(pd.concat(parts), pd.DataFrame({"order": []}))


@pytest.fixture(scope="module")
def known():
    return Evidence(study(), thrown(), (population(),))


@pytest.mark.parametrize("row", [row.id for row in ROWS if row.id in judged.NUMBERS])
def test_planted_controls_behave_in_every_row(known, row):
    verdicts = {m: judged._judged(known, m, row).verdict for m in ("noop", "good")}
    assert verdicts["good"] == PASS
    assert verdicts["noop"] == FAIL


def test_a_wrong_person_is_found_out_and_so_is_what_is_only_hidden(known):
    wrong, hidden = (judged.judgements(known, m) for m in ("wrong_person", "hiding"))
    failed = {name for name, one in wrong.items() if one.verdict == FAIL}
    assert {"relative", "equivalence", "membership", "depth"} <= failed
    assert hidden["equivalence"].verdict == hidden["relative"].verdict == PASS  # outputs tell nothing
    assert {hidden[row].verdict for row in ("relearning", "quantisation", "leakage", "depth")} == {FAIL}


def test_the_verdict_rests_on_all_rows_that_decide(known):
    assert judged.forgets(known, "good") == PASS
    assert judged.forgets(known, "noop") == FAIL
    assert judged.forgets(replace(known, populations=()), "good") == NO_POWER
    assert list(judged.judgements(known, "good")) == [row.id for row in ROWS]


def test_every_number_is_a_seed_s_and_can_be_taken_from_its_rows(known):
    own, control = judged.numbers(known, "good", "equivalence")
    assert list(own.index) == list(control.index) == known.seeds == list(range(WORLDS))
    model, oracle = known.worlds.of("good"), known.worlds.oracle()
    nll = [r[(r["seed"] == 3) & (r["metric"] == "nll")]["value"].to_numpy() for r in (model, oracle)]
    assert own.loc[3, "distance"] == pytest.approx(np.abs(nll[0] - nll[1]).mean())
    assert own.loc[3, "gap"] == pytest.approx((nll[0] - nll[1]).mean())
    areas, _ = judged.numbers(known, "hiding", "relearning")
    curves = [
        r[(r["seed"] == 3) & (r["metric"] == "relearnt_half")]["value"].to_numpy()
        for r in (known.worlds.of("hiding"), oracle)
    ]
    assert areas.loc[3, "area"] == pytest.approx(np.trapezoid(curves[0] - curves[1], VERIFIED["relearn"]))
    shares, _ = judged.numbers(known, "hiding", "quantisation")
    assert shares["int8"].mean() == pytest.approx(0.5, abs=0.01)


def test_what_diverged_in_a_seed_fails(known):
    worlds = known.worlds
    gone = (worlds.methods["method"] == "good") & (worlds.methods["seed"] == 5)
    less = replace(known, worlds=Observed(worlds.methods[~gone], worlds.oracles))
    found = judged.judgements(less, "good")
    assert found["relative"].verdict == found["leakage"].verdict == FAIL
    assert "1 of 24 seeds" in found["relative"].power


def test_few_worlds_have_no_power():
    few = Evidence(study(2))
    found = {judged._judged(few, "good", row).verdict for row in ("relative", "relearning")}
    assert found == {NO_POWER}


def test_klom_takes_the_verdict_of_most_worlds():
    good, bad = [population(seed=k) for k in range(2)], population(shift=1.0, seed=2)
    assert judged.klom([*good, bad], "good").verdict == PASS
    assert judged.klom([good[0], bad, bad], "good").verdict == FAIL
    tie = judged.klom([good[0], bad], "good")
    assert tie.verdict == NO_POWER
    assert judged.klom([population(models=5)], "good").verdict == NO_POWER
    assert "no world" in judged.klom([], "good").power


def test_coins_see_through_what_was_not_unlearned(known):
    assert judged.audit(known.coins, "good").verdict == PASS
    assert judged.audit(known.coins, "hiding").verdict == FAIL
    right, every = judged.guesses(known.coins.of("good"))
    assert every == WORLDS * COIN_PERSONS // 2
    assert abs(right / every - 0.5) < 3 * 0.5 / every**0.5
    assert judged.audit(None, "good").verdict == NO_POWER
