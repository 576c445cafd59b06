"""A folder is there whole or not at all, and a model comes back from it as it was."""

import json
import signal

import pytest
import torch
from filelock import FileLock
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
    """Whether a call lives is told by its lock: its process may be another host's, or another container's."""
    for name in (".out.dead.partial", ".out.alive.partial", ".other.dead.partial"):
        (tmp_path / name / "scratch").mkdir(parents=True)
        (tmp_path / name / "lock").touch()
    (tmp_path / ".mine.partial").mkdir()  # somebody else's
    alive = FileLock(tmp_path / ".out.alive.partial" / "lock")
    with alive, staged(tmp_path / "out"), staged(tmp_path / "second"):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {".out.alive.partial", ".mine.partial", "out", "second"}


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_s_target_is_what_is_delivered(is_there, tmp_path):
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    target.parent.mkdir()
    if is_there:
        target.mkdir()
    link.symlink_to(target)
    require_free(link)
    require_room(link, 1)
    with staged(link) as (folder, scratch):
        (folder / "model").touch()
        assert target.parent in scratch.parents  # on the disk that was looked at
    assert link.is_symlink()
    assert (target / "model").exists()
    with pytest.raises(ConfigError, match="target is not empty"):
        require_free(link)


def test_where_a_disk_is_mounted_is_refused(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(type(tmp_path), "is_mount", lambda path: path == (tmp_path / "out").resolve())
    for name in ("out", "link"):
        with pytest.raises(ConfigError, match="out is where a disk is mounted; give a folder inside it"):
            require_free(tmp_path / name)
    require_free(tmp_path / "out" / "inside")


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    require_free(tmp_path / "out")
    with staged(tmp_path / "out") as (folder, _):
        (folder / "model").touch()
    assert (tmp_path / "out" / "model").exists()


def test_what_is_not_free_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    for out, match in ((".", "is not empty"), ("file", "is no folder"), ("circle", "is no folder")):
        with pytest.raises(ConfigError, match=match):
            require_free(tmp_path / out)
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
