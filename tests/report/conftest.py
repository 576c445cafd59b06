"""Fixtures of the report's tests."""

import pytest

from unlearnkit.report import side_by_side
from unlearnkit.study import trials


@pytest.fixture
def untuned(monkeypatch, tmp_path):
    """Options are the methods' own, whatever was chosen for the study."""
    monkeypatch.setattr(trials, "FOLDER", tmp_path)
    trials.reread()
    side_by_side.kept.cache_clear()
    yield
    trials.reread()
    side_by_side.kept.cache_clear()
