"""The sum over one epoch."""

from unlearning_helpers import REQUEST, error


def test_it_adds_the_epoch_asked_for(trained):
    first, second = (trained.book.sum(REQUEST, e) for e in (1, 2))
    assert error(trained.direction("single_epoch"), second) < 1e-5  # the helper's option
    assert error(trained.direction("single_epoch", epoch=1), first) < 1e-5
