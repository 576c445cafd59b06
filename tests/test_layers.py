"""Layer names on the three architectures, tied and untied: by structure, never by substring, never empty."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from unlearnkit import layers
from unlearnkit.errors import LayerError
from unlearnkit.layers import Slot

SHAPES = [(arch, tied) for arch in ("gpt2", "llama", "gpt_neox") for tied in (True, False)]
PARTS = {  # token matrix, output matrix when untied, block prefix, final norm, position
    "gpt2": ("transformer.wte", "lm_head", "transformer.h", "transformer.ln_f", "transformer.wpe"),
    "llama": ("model.embed_tokens", "lm_head", "model.layers", "model.norm", None),
    "gpt_neox": ("gpt_neox.embed_in", "lm_head", "gpt_neox.layers", "gpt_neox.final_layer_norm", None),
}


def names(model, selection) -> set[str]:
    return set(layers.parameters(model, selection))


@pytest.mark.parametrize(("arch", "tied"), SHAPES)
def test_every_name(arch, tied, tiny_model):
    model = tiny_model(arch, tied)
    every = {n for n, _ in model.named_parameters()}
    token_in, token_out, block, final, position = PARTS[arch]
    token_out = token_in if tied else token_out

    def under(*prefixes: str) -> set[str]:
        return {n for n in every if n.startswith(tuple(p + "." for p in prefixes))}

    expected = {
        "all": every,
        "embedding.input": under(token_in),
        "embedding.output": under(token_out),
        "embedding": under(token_in, token_out),
        "all-but-embedding": every - under(token_in, token_out),
        "norm.final": under(final),
        "norms": {n for n in every if any(t in n for t in (".ln_", "norm"))},
        "first2": under(f"{block}.0", f"{block}.1"),
        "last2": under(f"{block}.1", f"{block}.2"),
        **{f"block.{k}": under(f"{block}.{k}") for k in range(3)},
    }
    if position:
        expected["position"] = under(position)
    assert set(layers.known_names(layers.tags(model))) == set(expected)
    for name, parameters in expected.items():
        assert parameters, name
        assert names(model, name) == parameters, name
        assert layers.parameters(model, name) == {n: model.get_parameter(n) for n in parameters}, name


@pytest.mark.parametrize(("arch", "tied"), SHAPES)
def test_the_elementary_names_part_the_slots(arch, tied, tiny_model):
    """Every slot has one place; a tied matrix has two slots, one for each role."""
    model = tiny_model(arch, tied)
    tagged = layers.tags(model)
    places = ["embedding.input", "embedding.output", "norm.final", "block.0", "block.1", "block.2"]
    places += ["position"] * (arch == "gpt2")
    found = [slot for name in places for slot in layers.select(tagged, name)]
    assert len(found) == len(set(found))
    assert set(found) == set(tagged)
    roles = [slot for slot in tagged if slot.role]
    assert [slot.role for slot in roles] == ["input", "output"]
    assert (roles[0].parameter == roles[1].parameter) == tied
    assert layers.select(tagged, "embedding") == roles
    assert layers.select(tagged, "all") == list(tagged)


def test_names_are_never_substrings():
    """Twelve blocks: block.1 is not block.10 or block.11, and last2 are the last two."""
    config = GPT2Config(vocab_size=20, n_embd=4, n_layer=12, n_head=1, n_positions=8)
    model = GPT2LMHeadModel(config)
    for k in (1, 10, 11):
        own = {n for n, _ in model.named_parameters() if n.startswith(f"transformer.h.{k}.")}
        assert names(model, f"block.{k}") == own
    assert names(model, "last2") == names(model, ["block.10", "block.11"])
    assert names(model, "first2") == names(model, ["block.0", "block.1"])
    assert [n for n in layers.known_names(layers.tags(model)) if n.startswith("block.")] == [
        f"block.{k}" for k in range(12)
    ]
    for name in ("block", "block.", "block.1.", "emb", "norm", "transformer.h.1", "", "Block.1", "block.12"):
        with pytest.raises(LayerError, match="matches no trainable parameter|has blocks 0 to 11"):
            names(model, name)


def test_a_list_is_a_union_in_model_order(tiny_model):
    model = tiny_model("gpt2")
    tagged = layers.tags(model)
    union = layers.select(tagged, ["block.2", "embedding.output", "norms"])
    separate = {s for n in ("block.2", "embedding.output", "norms") for s in layers.select(tagged, n)}
    assert set(union) == separate
    assert union == [slot for slot in tagged if slot in separate]
    assert layers.select(tagged, ["block.2", "block.2", "last2"]) == layers.select(tagged, "last2")
    assert layers.select(tagged, (n for n in ["norms"])) == layers.select(tagged, "norms")
    assert Slot("transformer.wte.weight", "output") in union
    assert Slot("transformer.wte.weight", "input") not in union


def test_refusals_name_the_nearest(tiny_model):
    llama = tiny_model("llama")
    for selection, match in (
        ("position", "'position': this model has no position embedding .rotary"),
        (["all", "position"], "no position embedding"),
        ("block.3", "'block.3': this model has blocks 0 to 2 .counted from 0."),
        ("embeding.input", "did you mean 'embedding.input'"),
        ("lats2", r"did you mean 'last2'\? .known: all, all-but-embedding"),
        ([], "selection is empty"),
        (["block.1", "blok.2"], "'blok.2' .* did you mean 'block.2'"),
    ):
        with pytest.raises(LayerError, match=match):
            layers.parameters(llama, selection)


def test_frozen_parameters_are_left_out(tiny_model):
    model = tiny_model("gpt2")
    for parameter in model.transformer.h[0].parameters():
        parameter.requires_grad_(False)
    assert not any(".h.0." in n for n in names(model, "all"))
    assert any(".h.0." in s.parameter for s in layers.tags(model, trainable_only=False))
    with pytest.raises(LayerError, match="block.0"):
        names(model, "block.0")
    assert names(model, "first2") == names(model, "block.1")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(LayerError, match="no trainable parameter"):
        names(model, "all")


def test_a_model_without_blocks():
    with pytest.raises(LayerError, match="Linear has no list of blocks"):
        layers.blocks(torch.nn.Linear(2, 2))
