"""Iterative removal: the one-shot sum while everything is known, and nothing where nothing is."""

from itertools import accumulate

import pytest
import torch
from unlearning_helpers import REQUEST, same

from unlearnkit import unlearning
from unlearnkit.errors import LayerError, RequestError

NORMS = [0.1, 0.1, 0.2]


def walk(trained, known=lambda _: True, order=REQUEST, **more):
    """A walk whose rounds are NORMS long if all are known: a path's norms count from the start."""
    totals = list(accumulate(NORMS))
    return unlearning.path(
        "iterative", trained.model, request=order, ledger=trained.book, known=known, norms=totals, **more
    )


def test_with_everything_known_it_is_the_one_shot_step(trained):
    rounds = list(walk(trained))
    assert [r.told["removed"] for r in rounds] == [tuple(REQUEST)] * 3
    assert rounds[-1].norm == pytest.approx(sum(NORMS), rel=1e-4)
    there = None
    for step, _ in enumerate(walk(trained)):
        if step == 2:
            there = trained.weights()
    result = trained.apply("first_epoch", norm=sum(NORMS))
    for name, tensor in trained.weights().items():
        assert torch.allclose(tensor, there[name], atol=1e-6)
    result.revert()


def test_an_example_that_is_no_longer_known_is_left_alone(trained):
    """The first round removes all; from then on only the first example is still known."""
    looks = []

    def known(example_id):
        looks.append(example_id)
        return len(looks) <= len(REQUEST) or example_id == REQUEST[0]

    rounds = list(walk(trained, known))
    assert [list(r.told["removed"]) for r in rounds] == [list(REQUEST), [REQUEST[0]], [REQUEST[0]]]
    assert looks == list(REQUEST) * 3


def test_a_round_in_which_nobody_is_known_changes_nothing(trained):
    before = trained.weights()
    for done in walk(trained, lambda _: False):
        assert done.told["removed"] == ()
        assert done.norm == 0.0
        assert same(trained.weights(), before)


def test_the_model_is_what_it_was_when_the_walk_is_left(trained):
    before = trained.weights()
    steps = walk(trained)
    next(steps)
    assert not same(trained.weights(), before)
    steps.close()
    assert same(trained.weights(), before)


def test_only_the_named_layers_move(trained):
    before = trained.weights()
    steps = walk(trained, layers="last2")
    next(steps)
    moved = {n for n, t in trained.weights().items() if not torch.equal(t, before[n])}
    steps.close()
    assert moved
    assert all(".h.1." in n or ".h.2." in n for n in moved)


def test_bad_requests_are_refused(trained):
    with pytest.raises(RequestError, match="empty"):
        next(walk(trained, order=[]))
    with pytest.raises(RequestError, match="nobody"):
        next(walk(trained, order=["nobody"]))
    with pytest.raises(LayerError, match="layer 12"):
        next(walk(trained, layers="layer 12"))
