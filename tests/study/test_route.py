"""Routes on paths in closed form: quadratic losses, whose crossings are known exactly."""

import math

import numpy as np
import pandas as pd
import pytest

from unlearnkit.study import config
from unlearnkit.study.route import Route

STEPS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
READINGS = {"damage": list(config.DAMAGE_LEVELS)} | config.REFINED
ORACLE = 3.0


def observed(x, steep=400.0, speeds=(900.0, 1100.0)):
    """Retain damage steep * x^2, each forget fact speed * x^2: nats at step length x."""
    forget = [("f", "nll", v * x * x) for v in speeds]
    rows = [(f"{name}{k}", metric, value) for k, (name, metric, value) in enumerate(forget)]
    rows += [("r", "nll", 1 + steep * x * x), ("r", "exact_memorisation", 9.0), ("other", "nll", 99.0)]
    return pd.DataFrame(rows, columns=["example", "metric", "value"])


def walk(see=observed, steps=STEPS, stop=math.inf, readings=READINGS, goes_back=True, divides=False):
    """The lengths that a route takes where `see` is what is observed, and the route."""
    target = pd.Series(ORACLE, ["f0", "f1"]) if readings else pd.Series(dtype=float)
    route, lengths = Route(steps, stop, ["r"], target, readings, goes_back, divides), []
    route.tell(see(0.0))
    for x in route:
        lengths.append(x)
        route.tell(see(x))
    return lengths, route


def nearest(lengths, place):
    return min(lengths, key=lambda x: abs(x - place))


def test_a_route_gets_near_every_reading_whose_place_is_known():
    lengths, _ = walk()
    assert tuple(lengths[: len(STEPS)]) == STEPS
    for level in config.DAMAGE_LEVELS:
        there = nearest(lengths, math.sqrt(level / 400))
        assert 400 * there**2 == pytest.approx(level, rel=READINGS["of_damage"])
    met = nearest(lengths, math.sqrt(ORACLE / 1000))  # the mean of both facts' speeds
    assert 1000 * met**2 == pytest.approx(ORACLE, abs=READINGS["nats"])
    assert len(lengths) <= 2 * len(STEPS)


def test_the_closest_approach_is_found_where_it_is_not_the_crossing():
    """Three facts, of which two meet their oracle at 0.05, far before the mean does: D_F is least there."""

    def see(x):
        nll = {"f0": 60 * x, "f1": 60 * x, "f2": 10 * x, "r": 1 + x}
        return pd.DataFrame({"example": nll.keys(), "metric": "nll", "value": nll.values()})

    target = pd.Series(ORACLE, ["f0", "f1", "f2"])
    route = Route(STEPS, math.inf, ["r"], target, READINGS | {"most": 8, "nats": 0.02}, True)
    route.tell(see(0.0))
    for x in route:
        route.tell(see(x))
    best = min(route.seen, key=lambda x: route.seen[x].distance)
    fine = np.linspace(0, 0.16, 16001)
    distance = (2 * abs(60 * fine - ORACLE) + abs(10 * fine - ORACLE)) / 3
    assert best == pytest.approx(fine[distance.argmin()], rel=0.02)
    assert route.seen[best].distance == pytest.approx(distance.min(), abs=0.05)


def test_a_bracket_shrinks_where_a_line_would_stick_to_one_end():
    """Damage that explodes behind the level: each step keeps off the ends, so that most of it goes."""

    def see(x):
        return observed(x).assign(
            value=lambda t: t["value"].where(t["example"] != "r", 1 + math.expm1(90 * x))
        )

    told = READINGS | {"most": 12}
    lengths, _ = walk(see, steps=(0.08,), readings=told)
    for level in config.DAMAGE_LEVELS:
        exact = math.log1p(level) / 90
        assert math.expm1(90 * nearest(lengths, exact)) == pytest.approx(level, rel=told["of_damage"])


def test_what_is_never_reached_costs_no_step():
    lengths, route = walk(lambda x: observed(x, steep=1.0, speeds=(1.0, 1.0)))
    assert tuple(lengths) == STEPS
    assert max(place.gap for place in route.seen.values()) < 0


def test_a_method_that_cannot_go_back_keeps_its_grid():
    assert tuple(walk(goes_back=False)[0]) == STEPS


def test_the_line_to_a_first_step_that_went_past_everything_is_looked_at():
    """The readings lie at 0.11 and 0.35 of the first step, and at 0.55; no later step is needed for one."""

    def see(x):
        return observed(x, steep=4.0, speeds=(9.0, 11.0))

    lengths, _ = walk(see, (1, 2, 4), goes_back=False, divides=True)
    assert (lengths[0], lengths[-2:]) == (1, [2, 4])
    assert all(0 < x < 1 for x in lengths[1:-2])
    assert 10 * nearest(lengths, math.sqrt(0.3)) ** 2 == pytest.approx(ORACLE, abs=0.3)  # `most` looks
    assert 4 * nearest(lengths, math.sqrt(0.125)) ** 2 == pytest.approx(0.5, rel=READINGS["of_damage"])
    assert walk(see, (1, 2, 4), stop=1.0, goes_back=False, divides=True)[0] == lengths[:-2]
    short, _ = walk(lambda x: see(x / 8), (1, 2, 4), goes_back=False, divides=True)
    assert short[-2:] == [2, 4]
    assert min(short) > 0.5  # of the first step's readings: the lower damage at most


def test_a_path_is_left_beyond_its_stop_once_all_readings_are_met():
    """Damage passes 0.3 at 0.027 and 0.5 at 0.035; the oracle is met at 0.055: it takes the step of 0.08."""
    assert walk(stop=0.3, goes_back=False)[0][-1] == 0.08
    assert walk(stop=10.0, goes_back=False)[0][-1] == 0.16  # not yet beyond the stop
    slow = walk(lambda x: observed(x, speeds=(90.0, 110.0)), stop=0.3, goes_back=False)[0]
    assert slow[-1] == 0.16  # the oracle is never met: to the end


def test_without_readings_the_stop_alone_counts():
    assert walk(stop=0.3, readings=None)[0] == [*STEPS[:5]]  # 0.64 nats at 0.04


def test_a_reading_at_the_start_takes_no_step():
    lengths, _ = walk(lambda x: observed(x).assign(value=lambda t: t["value"] + ORACLE), steps=(0.01,))
    assert lengths == [0.01]


def test_near_is_near_any_level():
    _, route = walk()
    for x, near in ((math.sqrt(0.05 / 400), True), (math.sqrt(0.5 / 400), True), (0.02, False)):
        assert route.is_near(observed(x)) == near
    assert route.is_near(observed(math.sqrt((ORACLE - 0.04) / 1000)))
    assert not route.is_near(observed(math.sqrt((ORACLE - 0.1) / 1000)))
