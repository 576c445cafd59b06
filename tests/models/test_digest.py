"""Which model a name stands for, told without torch."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import huggingface_hub
import pytest

from unlearnkit import models, paths
from unlearnkit.errors import ModelError
from unlearnkit.models import recipes
from unlearnkit.models.digest import is_settled


def flip_last_byte(path, keep_time=False):
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (0 if keep_time else 1)))


def test_a_folder_is_what_its_files_hold(saved, empty_cache, tmp_path):
    """The same elsewhere; another one with one bit of weights, tokens or config changed, and back."""
    first = models.digest(str(saved))
    assert models.digest(f"{saved}/") == first
    shutil.copytree(saved, tmp_path / "copy")
    assert models.digest(str(tmp_path / "copy")) == first
    (saved / "README.md").write_text("not read by a load")
    (saved / "notes.bin").write_bytes(b"neither")
    assert models.digest(str(saved)) == first
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        flip_last_byte(saved / name)
        assert models.digest(str(saved)) != first, name
        flip_last_byte(saved / name)
        assert models.digest(str(saved)) == first, name
    (saved / "merges.txt").write_text("a b")
    assert models.digest(str(saved)) != first


def test_a_relative_and_a_linked_path(saved, empty_cache, tmp_path, monkeypatch):
    first = models.digest(str(saved))
    (tmp_path / "link").symlink_to(saved)
    monkeypatch.chdir(saved.parent)
    assert [models.digest(name) for name in (f"./{saved.name}", "link")] == [first, first]


def test_files_are_read_once(saved, empty_cache):
    """Size and time of change tell that one is as it was: only that lets a changed byte go unseen."""
    first = models.digest(str(saved))
    flip_last_byte(saved / "model.safetensors", keep_time=True)
    assert models.digest(str(saved)) == first
    for damage in (lambda path: path.write_text('{"half'), os.unlink):
        damage(empty_cache / "digests.json")
        assert models.digest(str(saved)) != first
    assert [path.name for path in empty_cache.iterdir()] == ["digests.json"]


def test_a_cache_that_cannot_be_written_is_done_without(saved, empty_cache):
    first = models.digest(str(saved))
    (empty_cache / "digests.json").unlink()
    empty_cache.rmdir()
    empty_cache.write_text("a file where the folder should be")
    assert models.digest(str(saved)) == first


def test_built_models_are_their_recipes(empty_cache, monkeypatch):
    """Nothing is fetched or built for it; a changed pin or recipe is another model."""
    built = [name for name, entry in models.REGISTRY.items() if entry.build]
    digests = [models.digest(name) for name in built]
    assert all(digest.startswith(f"{name}-") for name, digest in zip(built, digests, strict=True))
    assert not empty_cache.exists()
    quick, smollm2 = (models.REGISTRY[name] for name in ("gpt2-tiny-pretrained-quick", "smollm2-135m"))
    for name, entry in (
        ("gpt2-tiny-pretrained-quick", replace(quick, recipe=replace(recipes.QUICK, steps=61).digest)),
        ("smollm2-135m", replace(smollm2, source=smollm2.source.replace("0.1.2", "0.1.3"))),
    ):
        monkeypatch.setitem(models.REGISTRY, name, entry)
        assert models.digest(name) not in digests


@pytest.mark.parametrize(
    ("name", "hub_id"), [("gpt2", "openai-community/gpt2"), ("some/model", "some/model")]
)
def test_a_hub_model_is_its_cached_commit(name, hub_id, no_hub):
    assert models.digest(name) == hub_id
    refs = huggingface_hub.file_download.repo_folder_name(repo_id=hub_id, repo_type="model")
    main = os.path.join(huggingface_hub.constants.HF_HUB_CACHE, refs, "refs", "main")
    os.makedirs(os.path.dirname(main))
    with open(main, "w") as file:
        file.write("607a30d783dfa663caf39e06633721c8d4cfcd7e")
    assert models.digest(name) == "607a30d783dfa663caf39e06633721c8d4cfcd7e"


@pytest.mark.parametrize("name", ["smolm2-135m", "/no/such/folder", "", "a/b/c"])
def test_unknown_names(name):
    with pytest.raises(ModelError, match="unknown model"):
        models.digest(name)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(ModelError, match=r"has no \*\.safetensors"):
        models.digest(str(tmp_path))


def test_it_needs_no_torch(saved, empty_cache):
    code = f"""
import json, sys, time
from unlearnkit import models
names = [*models.REGISTRY, {str(saved)!r}]
told = [models.digest(name) for name in names]
began = time.perf_counter()
again = [models.digest(name) for name in names]
heavy = sorted({{"torch", "transformers"}} & set(sys.modules))
print(json.dumps([told, again, time.perf_counter() - began, heavy]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    told, again, seconds, heavy = json.loads(done.stdout)
    assert heavy == []
    assert told == again == [models.digest(name) for name in [*models.REGISTRY, str(saved)]]
    assert seconds < 0.2


def test_a_hub_model_s_digest_is_settled_once_it_was_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not is_settled("somebody/something")
    commit = tmp_path / "models--somebody--something/refs/main"
    commit.parent.mkdir(parents=True)
    commit.write_text("abc")
    assert is_settled("somebody/something")
    assert is_settled("gpt2-tiny")
