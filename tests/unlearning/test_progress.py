"""What takes long shows how far it is; what does not, nothing."""

import functools

import pytest
from tqdm import tqdm

from unlearnkit import progress


@pytest.fixture
def bars(monkeypatch):
    """Bars are shown from so many seconds on, whatever TQDM_DISABLE said when tqdm was imported."""
    monkeypatch.setattr(progress, "tqdm", functools.partial(tqdm, disable=False))
    return lambda seconds: monkeypatch.setattr(progress, "AFTER", seconds)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("npo", {"steps": 3}, "npo:   0%|          | 0/3"),
        ("first_epoch", {"alpha": 1.0}, "first_epoch:   0%"),
        ("first_epoch", {"norm": 1.0}, "first_epoch:   0%"),
        ("retrain", {}, "training again:   0%"),
    ],
)
def test_a_bar_of_what_takes_long(name, options, told, trained, bars, capsys):
    bars(progress.AFTER)
    trained.apply(name, **options).revert()
    assert capsys.readouterr().err == ""
    bars(0)
    trained.apply(name, **options)
    assert told in capsys.readouterr().err


def test_a_walk_that_is_left_early_leaves_no_bar(trained, bars, capsys):
    bars(0)
    walk = trained.path("npo", steps=[1, 2, 9])
    next(walk)
    walk.close()
    assert capsys.readouterr().err.endswith("\r")
    assert not tqdm._instances
