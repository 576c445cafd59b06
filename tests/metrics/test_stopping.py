"""The stopping rule: both measures of the forget facts at most those of unseen ones, before unlearning."""

import pandas as pd
import pytest
from worlds import FACTS

from unlearnkit import metrics
from unlearnkit.metrics import stopping

FORGET, UNSEEN = FACTS[:3], FACTS[3:]


@pytest.fixture
def measured(monkeypatch):
    """Planted (exact memorisation, EL) of the two sets, which a test changes."""
    values = {"f0": (0.9, 0.8), "f3": (0.5, 0.25)}
    pick = lambda examples, k: [values[examples[0].id][k]] * len(examples)  # noqa: E731
    monkeypatch.setattr(
        stopping, "score", lambda _m, _t, examples: pd.DataFrame({"exact_memorisation": pick(examples, 0)})
    )
    monkeypatch.setattr(
        stopping,
        "extraction_likelihood",
        lambda _m, _t, examples, _n: pd.DataFrame({"extraction_likelihood": pick(examples, 1)}),
    )
    return values


def test_both_must_be_at_most_the_levels(measured):
    stop = metrics.as_unknown(None, None, FORGET, UNSEEN)
    assert not stop()
    for told, expected in (
        ((0.25, 0.5), False),
        ((0.75, 0.125), False),
        ((0.5, 0.25), True),
        ((0.0, 0.0), True),
    ):
        measured["f0"] = told
        assert stop() == expected


def test_levels_are_those_of_the_model_at_the_start(measured):
    stop = metrics.as_unknown(None, None, FORGET, UNSEEN)
    measured["f3"] = (1.0, 1.0)
    assert not stop()


def test_answers_too_short_for_an_n_gram_have_no_extraction(tiny_model, tiny_tokenizer):
    """Then memorisation alone decides; a model is at most as far as itself."""
    stop = metrics.as_unknown(tiny_model(), tiny_tokenizer, FORGET, FORGET, n=500)
    assert stop()
