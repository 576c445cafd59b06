"""The untied copy."""

import pytest
import torch
from worlds import SENTENCE

from unlearnkit import models
from unlearnkit.models import untied


@pytest.mark.smollm2
def test_the_untied_copy_is_the_same_function(monkeypatch, tmp_path):
    """Same logits, two token matrices that training can move apart."""
    monkeypatch.setattr(untied, "fetch", lambda _: models.fetch("gpt2-tiny"))
    untied.build(tmp_path)
    model, tokenizer = models.load(str(tmp_path))
    tied, _ = models.load("gpt2-tiny")
    ids = torch.tensor([tokenizer(SENTENCE)["input_ids"]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, tied(ids).logits)
        model.get_input_embeddings().weight.zero_()
    assert model.get_output_embeddings().weight.abs().sum() > 0
