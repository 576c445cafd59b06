"""A model's content digest: the same for the same content, another for another, and cheap."""

import os
import shutil
import subprocess
import sys

import pytest
import xxhash

from unlearnkit.models import digest as module
from unlearnkit.models import registry, smollm2
from unlearnkit.models.digest import digest


@pytest.fixture
def folder(tmp_path, empty_cache):
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_built_in_models_are_named_by_what_they_are_built_from():
    for name, entry in registry.REGISTRY.items():
        if entry.recipe:
            assert module.BUILT_IN[name] == f"recipe {xxhash.xxh3_64_hexdigest(entry.recipe.encode())}"
    assert module.BUILT_IN["smollm2-135m"] == smollm2.PACKAGE
    assert set(module.BUILT_IN) | set(module.HUB_IDS) == set(registry.REGISTRY)


def test_another_file_behind_the_same_path_is_another_model(folder):
    before = digest(str(folder))
    assert digest(str(folder)) == before
    (folder / "model.safetensors").write_bytes(b"WEIGHTS")
    os.utime(folder / "model.safetensors", ns=(0, 1))
    assert digest(str(folder)) != before


def test_the_same_content_elsewhere_is_the_same_model(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "notes.md").write_text("of no matter")
    monkeypatch.chdir(tmp_path)
    assert digest("copy") == digest(str(folder))


def test_a_file_is_read_once(folder, monkeypatch):
    digest(str(folder))
    monkeypatch.setattr(module, "_file_digest", lambda path: pytest.fail("read again"))
    digest(str(folder))


def test_it_needs_no_torch():
    code = "import sys; from unlearnkit.models.digest import digest; digest('gpt2-tiny'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
