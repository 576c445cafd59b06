"""SmolLM2 is the real model."""

import pytest
from worlds import SENTENCE, SHUFFLED, perplexity

from unlearnkit import models


@pytest.mark.smollm2
def test_smollm2_is_the_real_model():
    """data.md: 134,515,008 tied parameters; perplexity 30 on a sentence, thousands on its words shuffled."""
    model, tokenizer = models.load("smollm2-135m")
    about = models.describe(model)
    assert (about.parameters, about.tied, about.blocks, about.width) == (134_515_008, True, 30, 576)
    assert about.architecture == "LlamaForCausalLM"
    assert not hasattr(model.config, "quantization_config")
    assert tokenizer("Hello world")["input_ids"] == [19556, 905]
    assert perplexity(model, tokenizer, SENTENCE) < 60
    assert perplexity(model, tokenizer, SHUFFLED) > 10 * perplexity(model, tokenizer, SENTENCE)
