"""A folder is there whole or not at all, and a model comes back from it as it was."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from unlearnkit import models
from unlearnkit.errors import ConfigError
from unlearnkit.publishing.delivery import require_free, require_room, save, staged


def test_the_folder_appears_at_the_end(tmp_path):
    out = tmp_path / "out"
    with staged(out) as (folder, scratch):
        (folder / "model").write_text("weights")
        (scratch / "ledger").write_text("gradients")
        assert not out.exists()
    assert (out / "model").read_text() == "weights"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("failure", [OSError(28, "full"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(failure, tmp_path):
    def fail():
        with staged(tmp_path / "out") as (folder, _):
            (folder / "model").write_text("weights")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_call_that_is_told_to_end(tmp_path):
    def end():
        with staged(tmp_path / "out") as (_, scratch):
            (scratch / "ledger").write_text("gradients")
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        end()
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_call_left_is_removed_and_a_living_ones_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".out.{dead.pid}.partial", f".out.{os.getppid()}.partial", f".other.{dead.pid}.partial"):
        (tmp_path / name / "scratch").mkdir(parents=True)
    (tmp_path / f".mine.{dead.pid}.partial").mkdir()  # somebody else's
    with staged(tmp_path / "out"):
        pass
    names = {f".out.{os.getppid()}.partial", f".mine.{dead.pid}.partial", "out"}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    require_free(tmp_path / "out")
    with staged(tmp_path / "out") as (folder, _):
        (folder / "model").touch()
    assert (tmp_path / "out" / "model").exists()


def test_what_is_not_free_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for out, match in ((tmp_path, "is not empty"), (tmp_path / "file", "is no folder")):
        with pytest.raises(ConfigError, match=match):
            require_free(out)
    with pytest.raises(ConfigError, match="nothing can be written to .*file"):
        require_free(tmp_path / "file" / "out")


def test_a_disk_without_room_is_refused(tmp_path):
    require_room(tmp_path / "new" / "out", 1)
    with pytest.raises(ConfigError, match=r"takes about 1000000000.0 GB of disk, and .* has"):
        require_room(tmp_path / "new" / "out", 1e18)


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_a_model_comes_back_bit_for_bit(arch, tiny_model, tiny_tokenizer, tmp_path):
    """In full precision, though it was given in half: to round it is to take back a part of what was done."""
    given = tmp_path / "given"
    tiny_model(arch).to(torch.bfloat16).save_pretrained(given)
    tiny_tokenizer.save_pretrained(given)
    (given / "pytorch_model.bin").write_bytes(b"pickled")
    model, _ = models.load(str(given))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-4)
    (tmp_path / "out").mkdir()
    save(model, str(given), tmp_path / "out")
    assert not (tmp_path / "out" / "pytorch_model.bin").exists()
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    theirs = dict(read.named_parameters())
    assert all(torch.equal(theirs[n], p) for n, p in model.named_parameters())
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_weights_that_are_not_saved_are_noticed(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    given, out = tmp_path / "given", tmp_path / "out"
    tiny_model().save_pretrained(given)
    tiny_tokenizer.save_pretrained(given)
    model, _ = models.load(str(given))
    whole = type(model).save_pretrained

    def lose_a_bit(self, folder):
        whole(self, folder)
        tensors = load_file(folder / "model.safetensors")
        tensors["transformer.ln_f.bias"][0] += 1e-3
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    monkeypatch.setattr(type(model), "save_pretrained", lose_a_bit)
    out.mkdir()
    with pytest.raises(models.registry.ModelError, match="does not come back"):
        save(model, str(given), out)
