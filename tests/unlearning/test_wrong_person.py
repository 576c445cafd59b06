"""Somebody else's gradients, at the length of the request's."""

from unlearning_helpers import OTHERS, REQUEST, error, norm_of


def test_wrong_person_points_along_somebody_else(trained):
    theirs, reference = trained.book.sum(OTHERS), trained.book.sum(REQUEST)
    scale = norm_of(reference) / norm_of(theirs)
    expected = {n: scale * g for n, g in theirs.items()}
    assert error(trained.direction("wrong_person"), expected) < 1e-4
    assert error(expected, reference) > 0.1
