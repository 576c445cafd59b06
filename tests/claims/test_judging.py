"""Pass, fail and no power: error rates at the margins, and what few seeds can say."""

import math

import numpy as np
import pytest

from unlearnkit.claims.judging import FAIL, NO_POWER, PASS, below, columns, judged, within
from unlearnkit.errors import DataError

SEEDS, DRAWS = 24, 500
ERROR = 3 * 0.0098


def draws(mean, seeds=SEEDS, sd=1.0):
    return np.random.default_rng(0).normal(mean, sd, (DRAWS, seeds))


def rate(test, mean, verdict, seeds=SEEDS):
    """Of draws around a mean, each judged beside a control of the true oracle's spread."""
    control = np.random.default_rng(1).normal(0, 1, seeds)
    control = (control - control.mean()) / control.std(ddof=1)
    return np.mean([judged([test(v, control)], seeds).verdict == verdict for v in draws(mean, seeds)])


def equal(values, control):
    return within(values, control, margin=1.0)


def less(values, control):
    return below(values, control, limit=1.0)


@pytest.mark.parametrize("test", [equal, less])
def test_what_lies_at_the_margin_passes_as_seldom_as_promised_and_a_true_oracle_as_often(test):
    assert rate(test, 1.0, PASS) == pytest.approx(0.05, abs=ERROR)
    assert rate(test, 0.0, PASS) > 0.95
    assert rate(test, 3.0, FAIL) == 1


def test_two_sided_equivalence_minds_both_sides_and_a_limit_one():
    assert rate(equal, -3.0, FAIL) == 1
    assert rate(less, -3.0, PASS) == 1


def test_eight_seeds_say_nothing_of_equality_within_a_standard_deviation_but_see_a_failure():
    assert rate(equal, 0.0, NO_POWER, seeds=8) > 0.99
    assert rate(equal, 0.0, PASS, seeds=12) > 0.8
    assert rate(equal, 3.0, FAIL, seeds=8) > 0.95


def test_a_handful_of_seeds_says_nothing_but_that_an_interval_lies_beyond():
    few, control = [0.0, 0.01, -0.01, 0.0], [0.0, 0.01, -0.01, 0.01]
    assert judged([equal(few, control)], 4).verdict == judged([less(few, control)], 4).verdict == NO_POWER
    assert judged([equal([*few, 0.0], [*control, 0.0])], 5).verdict == PASS
    assert judged([less([3.0, 3.1, 3.0, 3.1], control)], 4).verdict == FAIL


def test_power_is_how_often_a_true_oracle_passes():
    for seeds in (8, 12, 24):
        found = within(np.zeros(seeds), draws(0, seeds)[0] / draws(0, seeds)[0].std(ddof=1), 1.0)
        passed = np.mean([within(v, v, 1.0).passes for v in draws(0, seeds)])
        assert found.power == pytest.approx(passed, abs=3 * 0.022)


def test_all_columns_must_pass_and_the_worst_is_shown():
    control = np.linspace(-0.1, 0.1, SEEDS)
    good, bad, far = (equal(control + shift, control) for shift in (0.0, 0.99, 5.0))
    assert judged([good, good], SEEDS).verdict == PASS
    found = judged([good, bad], SEEDS)
    assert (found.verdict, found.estimate) == (FAIL, pytest.approx(0.99))
    assert judged([good, far, bad], SEEDS).estimate == pytest.approx(5)


def test_an_estimate_may_have_to_be_closer_than_the_margin():
    control = np.linspace(-0.1, 0.1, SEEDS)
    assert within(control + 0.5, control, 1.0).passes
    assert not within(control + 0.5, control, 1.0, closest=0.4).passes


def test_one_seed_or_one_control_says_nothing():
    for values, control in (([0.0], [0.0, 0.1]), ([0.0, 0.1], [0.0])):
        for test in (equal, less):
            found = judged([test(values, control)], 1)
            assert found.verdict == NO_POWER
    assert math.isnan(judged([equal([9.0], [0.0, 0.1])], 1).interval[0])


def test_no_spread_at_all_is_judged_by_the_mean():
    assert judged([less([0.0] * 8, [0.0] * 8)], 8).verdict == PASS
    assert judged([less([2.0] * 8, [0.0] * 8)], 8).verdict == FAIL


def test_columns():
    assert [own.tolist() for own, _ in columns([[1, 2], [3, 4]], [[0, 0]])] == [[1, 3], [2, 4]]
    assert [own.tolist() for own, _ in columns([1, 2], [0])] == [[1, 2]]
    for values, control in (([[1, 2]], [[1]]), ([], []), (1.0, 1.0)):
        with pytest.raises(DataError, match="seeds x columns"):
            list(columns(values, control))
