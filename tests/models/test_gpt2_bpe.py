"""GPT-2's tokenizer, with its model's shape."""

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from unlearnkit import models


@pytest.mark.smollm2
def test_gpt2_with_its_true_tokenizer_saved_and_loaded(tmp_path):
    """The loading path of the paper's model, on its shape (fewer, thinner blocks) and its own tokens."""
    tokenizer = models.gpt2_tokenizer()
    assert len(tokenizer) == 50_257
    assert tokenizer("Hello world")["input_ids"] == [15496, 995]
    model = GPT2LMHeadModel(GPT2Config(n_embd=24, n_layer=2, n_head=2))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, back = models.load(str(tmp_path))
    assert models.fingerprint(loaded) == models.fingerprint(model)
    assert type(loaded.transformer.h[0].attn.c_attn).__name__ == "Conv1D"
    text = "Zoë's naïve café, 1987: don't!\n  two spaces"
    assert back(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert back.decode(back(text)["input_ids"]) == text
    assert back.pad_token == "<|endoftext|>"
