"""Loading models by name, folder and hub id; what goes wrong; descriptions and fingerprints."""

import json
import shutil
from dataclasses import replace

import huggingface_hub
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from unlearnkit import models
from unlearnkit.errors import ModelError
from unlearnkit.models import building, muon, pretraining, tiny, untied

SENTENCE = "The river flows through the old town and into the sea, where the fishing boats wait for the tide."
SHUFFLED = "fishing the tide into wait where river the old for through the sea, boats and The flows the. town"


def perplexity(model, tokenizer, text):
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        log_probs = model(ids).logits[0, :-1].log_softmax(-1)
    return log_probs.gather(1, ids[0, 1:, None]).mean().neg().exp().item()


@pytest.fixture
def saved(tmp_path, tiny_model, tiny_tokenizer):
    """A user's own model folder."""
    folder = tmp_path / "mine"
    tiny_model("llama", tied=False).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """The hub's client in its offline mode, with nothing in its cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


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


def test_unknown_name_lists_the_registry_and_the_closest():
    with pytest.raises(ModelError) as caught:
        models.load("smolm2-135m")
    assert "Did you mean smollm2-135m?" in str(caught.value)
    assert all(name in str(caught.value) for name in models.REGISTRY)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no-such-folder", "", "a/b/c"])
def test_missing_folder_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ModelError, match="unknown model"):
        models.load(name)


@pytest.mark.parametrize("name", ["gpt2", "somebody/some-model"])
def test_hub_out_of_reach(name, no_hub):
    with pytest.raises(ModelError, match=r"(?s)cannot fetch .*/.* from the model hub.*give that folder"):
        models.load(name)


def test_pickled_weights_are_refused(saved):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model\.bin\).*save_pretrained"):
        models.load(str(saved))


def test_folder_without_weights(tmp_path):
    with pytest.raises(ModelError, match=r"has no \*\.safetensors"):
        models.load(str(tmp_path))


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


def test_build_that_fails_leaves_nothing_and_the_next_succeeds(empty_cache):
    def fail(folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        building.built_once("x", fail)
    assert [path.name for path in (empty_cache / "models").iterdir()] == ["x.lock"]
    folder = building.built_once("x", lambda folder: (folder / "whole").write_text("whole"))
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert building.built_once("x", fail) == folder


def test_another_recipe_builds_anew_and_the_old_folder_stays_until_then(empty_cache):
    def write(text):
        return lambda folder: (folder / "weights").write_text(text)

    def fail(folder):
        raise ModelError("no")

    folder = building.built_once("x", write("first"))
    assert building.built_once("x", fail) == folder  # without a recipe any folder will do
    with pytest.raises(ModelError):
        building.built_once("x", fail, "a")  # of no known recipe
    assert (folder / "weights").read_text() == "first"
    for recipe in ("a", "b"):
        assert building.built_once("x", write(recipe), recipe) == folder
        assert building.built_once("x", fail, recipe) == folder
        assert (folder / "weights").read_text() == recipe
    assert sorted(path.name for path in folder.parent.iterdir()) == ["x", "x.lock"]


@pytest.mark.parametrize(
    "change",
    [{"steps": 61}, {"muon_lr": 6e-3}, {"start_std": 0.02}, {"version": pretraining.QUICK.version + 1}],
)
def test_a_changed_pretraining_is_not_taken_from_the_cache(change, empty_cache, saved, monkeypatch):
    """The registered model is what its recipe says, whatever an older one left in the cache."""

    def entry(recipe):
        def build(folder):
            built.append(recipe)
            shutil.copytree(saved, folder, dirs_exist_ok=True)

        return models.Entry("", build, recipe=recipe.digest)

    built = []
    other = replace(pretraining.QUICK, **change)
    for recipe in (pretraining.QUICK, pretraining.QUICK, other, other):
        monkeypatch.setitem(models.REGISTRY, "x", entry(recipe))
        models.fetch("x")
    assert built == [pretraining.QUICK, other]
    for name, recipe in (("", pretraining.FULL), ("-quick", pretraining.QUICK)):
        assert models.REGISTRY[f"gpt2-tiny-pretrained{name}"].recipe == recipe.digest


def test_full_disk_while_building(empty_cache):
    def no_room(folder):
        with open("/dev/full", "w") as full:
            full.write("x" * 100_000)

    with pytest.raises(ModelError, match="disk is full"):
        building.built_once("x", no_room)


def test_fingerprint_sees_one_bit_and_one_name(tiny_model):
    model = tiny_model("gpt2")
    before = models.fingerprint(model)
    assert models.fingerprint(tiny_model("gpt2")) == before
    assert models.fingerprint(tiny_model("gpt2", tied=False)) != before
    assert models.fingerprint(tiny_model("gpt2").bfloat16()) != before
    bits = model.transformer.ln_f.bias.data.view(torch.int32)
    bits[3] ^= 1
    assert models.fingerprint(model) != before


def test_description_counts_both_untied_matrices(tiny_model):
    tied, untied = (models.describe(tiny_model("llama", tied)) for tied in (True, False))
    matrix = tied.vocabulary * tied.width
    assert untied.parameters - tied.parameters == matrix
    assert tied.embedding_share == matrix / tied.parameters
    assert untied.embedding_share == 2 * matrix / untied.parameters
    assert (tied.blocks, tied.architecture) == (3, "LlamaForCausalLM")


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


@pytest.mark.smollm2
def test_quick_pretraining_taught_the_model(tmp_path):
    """The cached model beats half of the unigram perplexity, by its report and on a sentence."""
    folder = models.fetch("gpt2-tiny-pretrained-quick")
    report = json.loads((folder / pretraining.REPORT).read_text())
    assert report["perplexity"] < report["unigram_perplexity"] / 2
    model, tokenizer = models.load("gpt2-tiny-pretrained-quick")
    untrained, _ = models.load("gpt2-tiny")
    assert perplexity(model, tokenizer, SENTENCE) < perplexity(untrained, tokenizer, SENTENCE) / 4
    assert perplexity(model, tokenizer, SENTENCE) < perplexity(model, tokenizer, SHUFFLED)


def test_muon_is_torch_muon_in_single_precision():
    """Against torch's own, which rounds to bfloat16: 8 bits of a number."""
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(24, 8)) for _ in range(2))
    optimizers = [
        muon.Muon([ours], lr=0.01),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(3):
        ours.grad = torch.randn(24, 8)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - 1).norm()
    assert (ours - theirs).norm() < 0.02 * moved


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (8, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(muon.orthogonalised(torch.randn(shape)))
    assert values.min() > 0.4
    assert values.max() < 1.3


@pytest.mark.smollm2
def test_the_untied_copy_is_the_same_function(monkeypatch, tmp_path):
    """Same logits, two token matrices that training can move apart."""
    monkeypatch.setattr(untied, "built_once", lambda *_: models.fetch("gpt2-tiny"))
    untied.build(tmp_path)
    model, tokenizer = models.load(str(tmp_path))
    tied, _ = models.load("gpt2-tiny")
    ids = torch.tensor([tokenizer(SENTENCE)["input_ids"]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, tied(ids).logits)
        model.get_input_embeddings().weight.zero_()
    assert model.get_output_embeddings().weight.abs().sum() > 0


@pytest.mark.smollm2
def test_pretraining_that_learns_nothing_is_refused(tmp_path):
    with pytest.raises(ModelError, match="failed to halve the unigram perplexity"):
        pretraining.build(replace(pretraining.QUICK, steps=1, batch_size=1), tmp_path)
    assert list(tmp_path.iterdir()) == []


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
