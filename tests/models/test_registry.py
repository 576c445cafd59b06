"""Names, folders and hub ids, and what goes wrong with them."""

import shutil
from dataclasses import replace

import pytest

from unlearnkit import models
from unlearnkit.errors import ModelError
from unlearnkit.models import recipes


def test_unknown_name_lists_the_registry_and_the_closest():
    with pytest.raises(ModelError) as caught:
        models.load("smolm2-135m")
    assert "did you mean 'smollm2-135m'?" in str(caught.value)
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


@pytest.mark.parametrize(
    "change",
    [{"steps": 61}, {"muon_lr": 6e-3}, {"start_std": 0.02}, {"version": recipes.QUICK.version + 1}],
)
def test_a_changed_pretraining_is_not_taken_from_the_cache(change, empty_cache, saved, monkeypatch):
    """The registered model is what its recipe says, whatever an older one left in the cache."""

    def entry(recipe):
        def build(folder):
            built.append(recipe)
            shutil.copytree(saved, folder, dirs_exist_ok=True)

        return models.Entry("", build, recipe=recipe.digest)

    built = []
    other = replace(recipes.QUICK, **change)
    for recipe in (recipes.QUICK, recipes.QUICK, other, other):
        monkeypatch.setitem(models.REGISTRY, "x", entry(recipe))
        models.fetch("x")
    assert built == [recipes.QUICK, other]
    for name, recipe in (("", recipes.FULL), ("-quick", recipes.QUICK)):
        assert models.REGISTRY[f"gpt2-tiny-pretrained{name}"].recipe == recipe.digest
    for name in ("neox-tiny", "llama-tiny"):
        assert models.REGISTRY[f"{name}-pretrained"].recipe == recipes.tiny(name, recipes.FULL)
