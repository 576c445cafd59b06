"""What a worker is asked about itself, and which models it may compute with."""

import shutil

import pytest

from unlearnkit import paths
from unlearnkit.errors import ModelError
from unlearnkit.study import worker


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A checkout whose files a test may change."""
    folder = tmp_path / "unlearnkit"
    shutil.copytree(paths.ROOT / "unlearnkit", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return folder


def test_what_a_worker_is_does_not_follow_from_where_it_lies(copy, monkeypatch):
    found = worker.about.__wrapped__()
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "cells.pyc").touch()
    assert worker.about.__wrapped__() == found
    monkeypatch.undo()
    assert worker.about.__wrapped__() == found


@pytest.mark.parametrize(
    ("name", "new"), [("study/cells.py", "#"), ("data/worlds.toml", "#"), ("new.py", "")]
)
def test_other_code_is_seen(copy, name, new):
    found = worker.about.__wrapped__()
    with (copy / name).open("a") as file:
        file.write(new)
    other = worker.about.__wrapped__()
    assert other["unlearnkit"] != found["unlearnkit"]
    assert other["torch"] == found["torch"]


def test_another_model_of_the_same_name_is_refused(tmp_path, tiny_model, tiny_tokenizer):
    """Its numbers would count as those of the model that the cell's key names."""
    folder = str(tmp_path / "model")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    with pytest.raises(
        ModelError, match=rf"the model {folder} on a-host is another \(\w+\) .* \(abc\): copy"
    ):
        worker._require_model(folder, "abc", "a-host")
