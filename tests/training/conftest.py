"""Fine-tuning of a tiny model."""

import pytest
from worlds import FACTS, weights_of
from worlds import TWO_EPOCHS as RECIPE

from unlearnkit import training


@pytest.fixture
def train(tiny_model, tiny_tokenizer):
    """`train(recipe, arch=, seed=, **options)` fine-tunes a new tiny model; returns (weights, run)."""

    def go(recipe=RECIPE, arch="gpt2", examples=FACTS, **options):
        model = tiny_model(arch)
        run = training.fine_tune(model, tiny_tokenizer, examples, recipe, progress=False, **options)
        return weights_of(model), run

    return go
