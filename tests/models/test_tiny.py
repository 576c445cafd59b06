"""The tiny models are what their recipes say, and alike but for their architectures."""

import pytest

from unlearnkit import models
from unlearnkit.models import recipes, tiny

# Outside of the token matrices: GPT-2 has 256 positions and Llama no biases, of width 128.
BLOCKS = {"gpt2-tiny": 2_412_288, "neox-tiny": 2_379_520, "llama-tiny": 2_362_496}


@pytest.mark.smollm2
@pytest.mark.parametrize(("name", "tied"), [("gpt2-tiny", True), ("neox-tiny", False), ("llama-tiny", True)])
def test_a_tiny_model_is_a_seeded_init_of_its_size(name, tied, tmp_path):
    model, tokenizer = models.load(name)
    tiny.build(name, tmp_path)
    again, same = models.load(str(tmp_path))
    assert models.fingerprint(model) == models.fingerprint(again)
    assert tokenizer.get_vocab() == same.get_vocab() == models.load("gpt2-tiny")[1].get_vocab()
    about = models.describe(model)
    assert (about.blocks, about.width, about.vocabulary, about.tied) == (12, 128, 8192, tied)
    tokens = (1 if tied else 2) * 8192 * 128
    assert about.parameters - tokens == BLOCKS[name]
    assert about.embedding_share == pytest.approx(tokens / about.parameters)


def test_a_changed_shape_is_another_recipe(monkeypatch):
    def made():
        given = (None, recipes.FULL, recipes.QUICK)
        return {recipes.tiny(name, pretraining) for name in recipes.TINIES for pretraining in given}

    before = made()
    for name, (kind, shape) in recipes.TINIES.items():
        monkeypatch.setitem(recipes.TINIES, name, (kind, shape | {"initializer_range": 0.03}))
    assert len(before | made()) == 2 * len(before) == 18


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt_neox"])
def test_a_sketch_is_small_and_reads_what_its_tokenizer_was_trained_on(kind, tmp_path):
    texts = ["Ada keeps her bees on the roof of the old granary.", "Ben collects tickets of forgotten trams."]
    for name in ("first", "second"):
        tiny.sketch(tmp_path / name, texts, kind)
    model, tokenizer = models.load(str(tmp_path / "first"))
    assert models.digest(str(tmp_path / "first")) == models.digest(str(tmp_path / "second"))
    assert model.config.model_type == kind
    about = models.describe(model)
    assert about.parameters < 200_000
    assert about.vocabulary == len(tokenizer) <= tiny.SKETCH_VOCABULARY
    assert tokenizer.decode(tokenizer(texts[0])["input_ids"]) == texts[0]
