"""The sum over every epoch."""

from unlearning_helpers import REQUEST, error


def test_it_adds_the_sum_over_every_epoch(trained):
    every = trained.book.sum(REQUEST, "all")
    assert error(trained.direction("all_epochs"), every) < 1e-5
    tripled = {n: 3 * g for n, g in trained.book.sum(REQUEST, 1).items()}
    assert error(every, tripled) > 0.01  # the arms differ
