"""Loading folders: bit for bit, ready to measure; what goes wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast
from worlds import SENTENCE

from unlearnkit import models
from unlearnkit.errors import ModelError
from unlearnkit.models import loading


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize("tied", [True, False])
def test_folder_loads_back_bit_for_bit(arch, tied, tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model(arch, tied)
    model.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    loaded, tokenizer = models.load(str(tmp_path))
    assert models.fingerprint(loaded) == models.fingerprint(model)
    assert models.describe(loaded).tied is tied
    assert tokenizer(SENTENCE)["input_ids"] == tiny_tokenizer(SENTENCE)["input_ids"]


def test_loaded_model_is_ready_to_measure(tmp_path, tiny_tokenizer):
    """Evaluation mode; a dropout of 0.5 in the saved config is off even in train(); padding is set."""
    sizes = {"vocab_size": len(tiny_tokenizer), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    config = GPT2Config(**sizes, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    bare = GPT2TokenizerFast.from_pretrained(tiny_tokenizer.name_or_path, pad_token=None, padding_side="left")
    assert bare.pad_token is None
    bare.save_pretrained(tmp_path)
    model, tokenizer = models.load(str(tmp_path), attn_implementation="eager")
    assert not model.training
    assert model.config._attn_implementation == "eager"
    assert (tokenizer.pad_token, tokenizer.padding_side) == (tokenizer.eos_token, "right")
    ids = tokenizer(SENTENCE, return_tensors="pt")["input_ids"]
    assert torch.equal(model(ids).logits, model.train()(ids).logits)


def test_llama_attention_dropout_is_off(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.5}))
    model, tokenizer = models.load(str(saved))
    ids = tokenizer(SENTENCE, return_tensors="pt")["input_ids"]
    assert torch.equal(model(ids).logits, model.train()(ids).logits)


def test_dtype_is_passed_on(saved):
    assert models.load(str(saved), dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_damaged_weights_name_the_folder(saved):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"cannot load .*mine"):
        models.load(str(saved))


def test_missing_tokenizer_names_the_folder(saved):
    for path in saved.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"mine"):
        models.load(str(saved))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("mystery", r"'mystery', unknown to transformers 5.*: take a causal .*, or a newer transformers"),
        ("t5", "'t5', which predicts no next token: take a causal language model"),
    ],
)
def test_an_architecture_that_cannot_be_loaded_is_named_with_a_remedy(saved, kind, message):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": kind}))
    for load in (models.load, loading.load_tokenizer):
        with pytest.raises(ModelError, match=message):
            load(str(saved))


def test_weights_that_are_missing_are_named(saved):
    """transformers would draw them at random."""
    kept = load_file(saved / "model.safetensors")
    gone = [name for name in kept if name.endswith("up_proj.weight")]
    for name in gone:
        kept.pop(name)
    save_file(kept, saved / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=f"lacks {len(gone)} of the weights.*{gone[0]!r} first: copy it whole"
    ):
        models.load(str(saved))


def test_layers_that_the_configuration_leaves_out_are_named(saved):
    """transformers would run a shorter model than was saved."""
    config = json.loads((saved / "config.json").read_text())
    config["layer_types"] = None
    config["num_hidden_layers"] -= 1
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"weights of further layers, 'model.layers.2\..*number of layers"):
        models.load(str(saved))


def test_weights_that_no_layer_has_are_left(saved):
    """Such as buffers that an older version of transformers saved."""
    kept = load_file(saved / "model.safetensors")
    kept["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(kept, saved / "model.safetensors", {"format": "pt"})
    models.load(str(saved))


def test_adapters_are_no_model(saved):
    (saved / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    for load in (models.load, loading.load_tokenizer):
        with pytest.raises(ModelError, match="holds adapters.*merge_and_unload"):
            load(str(saved))


def test_a_folder_without_a_tokenizer_says_how_to_save_one(saved):
    for path in [p for pattern in loading.TOKENIZER for p in saved.glob(pattern)]:
        path.unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer: .*tokenizer.save_pretrained\(folder\)"):
        models.load(str(saved))
