"""Verdicts from observations: planted controls behave, and every judgement rests on numbers that are told."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_tests import WORLDS, population, study, thrown

from unlearnkit.claims.judging import FAIL, NO_POWER, PASS
from unlearnkit.claims.verification import ROWS, forgets
from unlearnkit.study import judged
from unlearnkit.study.config import COIN_PERSONS, FIRST_ORDER, IN_PLACE, POPULATION, VERIFIED
from unlearnkit.study.judged import Evidence, Observed
from unlearnkit.study.judged_on import guesses


@pytest.fixture(scope="module")
def known():
    return Evidence(study(), thrown(), (population(),))


@pytest.mark.parametrize("row", [row.id for row in ROWS if row.id in judged.NUMBERS])
def test_planted_controls_behave_in_every_row(known, row):
    verdicts = {m: judged._judged(known, m, row).verdict for m in ("noop", "good")}
    assert verdicts["good"] == PASS
    assert verdicts["noop"] == FAIL


@pytest.mark.parametrize("row", [row.id for row in ROWS if row.id in judged.NUMBERS])
def test_a_true_oracle_is_judged_by_margins_that_it_has_no_part_in(known, row):
    own, control = judged.numbers(known, judged.ORACLE, row)
    assert row == "relative" or not own.equals(control)  # there both are nearer with every fact
    assert judged._judged(known, judged.ORACLE, row).verdict == PASS


def test_an_oracle_that_is_none_fails(known):
    worlds = known.worlds
    third = worlds.oracles["order"] == 3
    told = worlds.oracles.assign(value=worlds.oracles["value"] - 1.0 * third)
    found = judged.judgements(replace(known, worlds=Observed(worlds.methods, told)), judged.ORACLE)
    assert found["equivalence"].verdict == found["depth"].verdict == FAIL


def test_a_wrong_person_is_found_out_and_so_is_what_is_only_hidden(known):
    wrong, hidden = (judged.judgements(known, m) for m in ("wrong_person", "hiding"))
    failed = {name for name, one in wrong.items() if one.verdict == FAIL}
    assert {"relative", "equivalence", "membership", "depth"} <= failed
    assert hidden["equivalence"].verdict == hidden["relative"].verdict == PASS  # outputs tell nothing
    assert {hidden[row].verdict for row in ("relearning", "quantisation", "leakage", "depth")} == {FAIL}


def test_the_verdict_rests_on_all_rows_that_decide(known):
    for evidence, method, verdict in (
        (known, "good", PASS),
        (known, "noop", FAIL),
        (replace(known, populations=()), "good", NO_POWER),
    ):
        assert forgets(judged.judgements(evidence, method)) == verdict
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


def test_oracles_in_an_unlearned_model_s_place_pass_klom(known):
    """Of a population, the orders after the first forty; without them nothing can be said."""
    assert judged.klom(known.populations, judged.ORACLE).verdict == NO_POWER
    world = population()
    oracles = world.oracles.assign(seed=world.oracles["seed"] + FIRST_ORDER)
    more = population(seed=0, models=IN_PLACE // 2).oracles
    both = [oracles, more.assign(seed=more["seed"] + FIRST_ORDER + POPULATION)]
    told = judged.klom([Observed(world.methods, pd.concat(both))], judged.ORACLE)
    assert told.verdict == PASS
    own, null = judged.population(Observed(world.methods, pd.concat(both)), judged.ORACLE)
    assert (len(own), len(null)) == (IN_PLACE, POPULATION)
    assert judged.klom([Observed(world.methods, pd.concat(both))], "good").verdict == PASS


def test_coins_see_through_what_was_not_unlearned(known):
    assert judged.audit(known.coins, "good").verdict == PASS
    assert judged.audit(known.coins, "hiding").verdict == FAIL
    right, every = guesses(known.coins.of("good")).sum()
    assert every == WORLDS * COIN_PERSONS // 2
    assert abs(right / every - 0.5) < 3 * 0.5 / every**0.5
    assert judged.audit(None, "good").verdict == NO_POWER


def test_coins_of_seeds_that_a_method_has_no_model_of_count_as_guessed(known):
    coins = known.coins
    kept = coins.methods[(coins.methods["method"] != "good") | (coins.methods["seed"] < WORLDS // 2)]
    found = judged.audit(Observed(kept, coins.oracles), "good")
    assert found.verdict == FAIL
    right, every = guesses(coins.of("good").query("seed < @WORLDS // 2")).sum()
    assert found.estimate == pytest.approx((right + every) / (2 * every))
