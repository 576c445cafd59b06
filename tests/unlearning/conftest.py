"""Fixtures of every test of unlearning."""

import pytest
from unlearning_helpers import Trained

from unlearnkit.unlearning import METHODS


@pytest.fixture
def trained(tiny_model, tiny_tokenizer, tmp_path):
    return Trained(tiny_model("gpt2"), tiny_tokenizer, tmp_path / "l")


@pytest.fixture
def own_methods():
    """Methods that a test registers are gone after it."""
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)
