"""The walk to a level ends at the shortest length that reaches it, and says so where none does."""

import math

import pytest

from unlearnkit.data import Example
from unlearnkit.publishing.level import FINE_RATIO, LONGEST, Lengths, carry_out, invented, level_of

CURVES = {
    "steep": lambda x: 0.1 + 50 * x**3,
    "flat": lambda x: 0.1 + 8 * x,
    "late": lambda x: 0.1 + 6 / (1 + math.exp(-80 * (x - 0.3))),
}


def walked(curve, level=3.0, **changes):
    """All lengths of a walk along a curve, in order, and what was seen."""
    way = Lengths(level, **{"first": 1e-4, "longest": LONGEST, "seen": {0.0: curve(0)}, **changes})
    lengths = []
    for length in way:
        lengths.append(length)
        way.seen[length] = curve(length)
    return lengths, way


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("level", [0.5, 3.0, 4.0])
def test_it_ends_at_the_level(name, level):
    lengths, way = walked(CURVES[name], level)
    assert lengths[-1] == way.best == min(x for x, nll in way.seen.items() if nll >= level)
    assert level <= way.seen[lengths[-1]] < level + 0.1
    assert len(lengths) <= 21


def test_a_level_beyond_reach_ends_where_most_is_forgotten():
    lengths, way = walked(lambda x: 0.1 + math.sin(8 * x), 5.0)
    assert lengths[-1] == way.best
    assert way.seen[way.best] == max(way.seen.values()) < 5
    assert max(lengths) <= LONGEST


def test_what_cannot_go_back_only_goes_on():
    lengths, way = walked(CURVES["flat"], goes_back=False)
    assert lengths == sorted(lengths)
    assert way.seen[lengths[-1]] >= 3 > way.seen[lengths[-2]]
    assert lengths[-1] / lengths[-2] == pytest.approx(FINE_RATIO)


def test_a_first_step_that_is_too_long_is_cut():
    lengths, way = walked(lambda x: 0.1 + 1e5 * x)
    assert lengths[0] > lengths[-1]
    assert way.seen[lengths[-1]] < 3.1


def test_whose_level_it_is(tiny_model, tiny_tokenizer):
    model, strangers = tiny_model(), invented()[:3]
    own = level_of(model, tiny_tokenizer, strangers, 1.0)
    assert own.words == "3 never-trained facts of the data (split holdout)"
    assert level_of(model, tiny_tokenizer, [], 1.5).nll == 1.5
    built_in = level_of(model, tiny_tokenizer, [])
    assert "invented facts about persons whom no model has met" in built_in.words
    assert own.nll != built_in.nll


def test_a_method_without_steps_is_told_by_its_length(tiny_model, tiny_tokenizer):
    """What the facts' NLL was before it stays what is told of 0."""
    fact = Example("f", "", "Ada likes", "tea", "retain", contradiction="bees")
    told = iter([1.0, 2.0])
    given = {"examples": [fact], "tokenizer": tiny_tokenizer, "lr": 1e-2, "epochs": 1}
    result, seen = carry_out("pcgu", tiny_model(), ["f"], given, 9.0, lambda: next(told), 1.0)
    assert result.norm > 0
    assert seen == {0.0: 1.0, result.norm: 2.0}
