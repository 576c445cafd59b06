"""First-epoch gradients in every epoch's stead."""

from unlearning_helpers import REQUEST, error


def test_it_is_the_first_epoch_times_the_epochs(trained):
    tripled = {n: 3 * g for n, g in trained.book.sum(REQUEST, 1).items()}
    assert error(trained.direction("first_epoch_times_E"), tripled) < 1e-5
