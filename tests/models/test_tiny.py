"""gpt2-tiny is what its recipe says."""

import pytest

from unlearnkit import models
from unlearnkit.models import tiny


@pytest.mark.smollm2
def test_gpt2_tiny_is_the_seeded_init_of_gpt2s_proportions(tmp_path):
    model, tokenizer = models.load("gpt2-tiny")
    tiny.build(tmp_path)
    again, same = models.load(str(tmp_path))
    assert models.fingerprint(model) == models.fingerprint(again)
    assert tokenizer.get_vocab() == same.get_vocab()
    about = models.describe(model)
    assert (about.blocks, about.width, about.vocabulary, about.tied) == (12, 128, 8192, True)
    assert 0.28 < about.embedding_share < 0.32
