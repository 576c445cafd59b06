"""A user's own model folder, and no hub."""

import huggingface_hub
import pytest


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
