"""Somebody else's gradients, at the length of the request's."""

import pytest
from unlearning_helpers import OTHERS, REQUEST, error, norm_of, refused, same

from unlearnkit.errors import MethodError, RequestError


def test_wrong_person_points_along_somebody_else(trained):
    theirs, reference = trained.book.sum(OTHERS), trained.book.sum(REQUEST)
    scale = norm_of(reference) / norm_of(theirs)
    expected = {n: scale * g for n, g in theirs.items()}
    assert error(trained.direction("wrong_person"), expected) < 1e-4
    assert error(expected, reference) > 0.1


@pytest.mark.parametrize("others", ["f0", ["f0"], ["f4", "f0"]])
def test_the_request_is_nobody_elses(others, trained):
    refused(trained, MethodError, r"others= and the request share \['f0'\]", "wrong_person", others=others)


def test_one_other_may_be_named_alone(trained):
    alone, listed = (trained.direction("wrong_person", others=others) for others in ("f4", ["f4"]))
    assert same(alone, listed)


def test_unknown_others_are_named(trained):
    refused(trained, RequestError, "not in ledger .*: 'nobody'", "wrong_person", others=["nobody"])
