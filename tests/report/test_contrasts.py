"""Families of contrasts, and guards of the text."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit import stats
from unlearnkit.claims import NOT_REPLICATED, REPLICATED
from unlearnkit.errors import DataError
from unlearnkit.report import contrasts

SEEDS = pd.RangeIndex(4, name="seed")
LOW, HIGH = pd.Series([1.0, 1.1, 0.9, 1.0], SEEDS), pd.Series([1.5, 1.4, 1.6, 1.7], SEEDS)


def test_a_family_is_corrected_over_all_its_pairs():
    wide = pd.Series([1.0, 3.0, 0.5, 1.2], SEEDS)
    found = contrasts.family({"near": (LOW, HIGH), "far": (wide, HIGH), "same": (LOW, LOW)}).set_index(
        "against"
    )
    assert found["difference"].to_dict() == pytest.approx({"near": -0.55, "far": -0.125, "same": 0})
    assert found["wins"].to_dict() == {"near": 4, "far": 3, "same": 0}
    expected = [stats.paired_t(HIGH, one).p for one in (LOW, wide)]
    assert list(found["p"])[:2] == pytest.approx(expected)
    assert list(found["p_holm"])[:2] == pytest.approx([2 * expected[0], expected[1]])
    assert np.isnan(found.loc["same", "p_holm"])  # no variance, so no test
    assert contrasts.family({}).empty


def test_a_pair_counts_in_the_seeds_that_have_both():
    found = contrasts.family({"pair": (LOW[:3], HIGH[1:])})
    assert (found.loc[0, "n"], found.loc[0, "difference"]) == (2, pytest.approx(-0.5))


def test_a_guard_speaks_of_the_claims_that_are_not_so(monkeypatch):
    class Arm:
        name = "one"

    rows = [
        {"arm": "one", "id": "C1", "verdict": REPLICATED},
        {"arm": "two", "id": "C5", "verdict": REPLICATED},
    ]
    rows += [{"arm": "one", "id": "C2b", "verdict": NOT_REPLICATED}]
    monkeypatch.setattr(contrasts, "verdicts", lambda _, ids: [r for r in rows if r["id"] in ids])
    assert contrasts.holds(None, "C1", Arm, REPLICATED) is None
    said = contrasts.holds(None, ("C1", "C2b", "C5"), Arm, REPLICATED).data
    assert "C2b is **not replicated**" in said
    assert "C5 is **not tested** on one" in said  # only the other arm tests it
    assert "C1 " not in said


def test_pairs_of_other_seeds_are_an_error():
    with pytest.raises(DataError, match="seeds"):
        contrasts.paired(pd.Series([1.0, 2.0], [0, 1]), pd.Series([1.0, 2.0], [1, 2]))


def test_a_guard_is_silent_where_the_text_is_right():
    assert contrasts.unless(True, "x") is None
    assert "x" in contrasts.unless(False, "x").data
