"""Weights on disk: what is read is what was written, or an error names the file."""

import contextlib
import random
import shutil

import pytest
import torch
from worlds import flip, same, weights_of

from unlearnkit import weights
from unlearnkit.errors import ModelError

KINDS = {
    "a matrix": torch.randn(7, 5, generator=torch.Generator().manual_seed(0)),
    "half": torch.arange(6).bfloat16(),
    "scalar": torch.tensor(3.0),
    "whole": torch.arange(4),
}


@pytest.fixture
def file(tmp_path):
    return weights.save(tmp_path / "w.safetensors", KINDS)


def zeros():
    return {name: torch.zeros_like(t) for name, t in KINDS.items()}


def test_what_is_read_is_what_was_written(file):
    assert same(dict(weights.read(file)), KINDS)
    into = zeros()
    weights.copy_into(file, into)
    assert same(into, KINDS)
    (only,) = weights.read(file, ["half"])
    assert torch.equal(only[1], KINDS["half"])
    assert dict(weights.read(weights.save(file.with_name("none"), {}))) == {}
    moved = {"a matrix": KINDS["a matrix"] + 2, "scalar": torch.tensor(0.0)}
    assert weights.distance(file, moved) == pytest.approx((35 * 4 + 9) ** 0.5)


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_seen_with_the_seal_and_none_gives_other_numbers_without(bit, file):
    sealed = weights.seal(file)
    for place in range(file.stat().st_size):
        flip(file, place, 1 << bit)
        with pytest.raises(ModelError, match="w.safetensors is damaged"):
            dict(weights.read(file, sealed=sealed))
        into = zeros()
        with contextlib.suppress(ModelError):
            weights.copy_into(file, into)
            assert same(into, KINDS)
        flip(file, place, 1 << bit)
    assert same(dict(weights.read(file, sealed=sealed)), KINDS)


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    """The digests' order too, which safetensors leaves to chance: ten names, ten files."""
    tensors = {f"λ{k}": torch.full((k, 3), float(k)) for k in range(10)}
    files = [weights.save(tmp_path / f"{k}.safetensors", tensors) for k in range(10)]
    assert len({path.read_bytes() for path in files}) == 1
    assert all(torch.equal(tensors[name], tensor) for name, tensor in weights.read(files[0]))


def test_a_damaged_tensor_is_not_copied(file):
    last = max(
        KINDS,
        key=lambda name: file.read_bytes().find(KINDS[name].view(-1).view(torch.uint8).numpy().tobytes()),
    )
    flip(file, file.stat().st_size - 1)
    into = zeros()
    with pytest.raises(ModelError, match=f"{last!r} is not what was written"):
        weights.copy_into(file, into)
    assert same({last: into[last]}, {last: zeros()[last]})


def test_a_file_cut_gone_or_exchanged(file, tmp_path):
    sealed, size = weights.seal(file), file.stat().st_size
    other = weights.save(tmp_path / "other.safetensors", {**KINDS, "scalar": torch.tensor(4.0)})
    for place in (0, 4, size // 2, size - 1):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(file.read_bytes()[:place])
        for given in ({}, {"sealed": sealed}):
            with pytest.raises(ModelError, match="cut.safetensors is damaged"):
                dict(weights.read(cut, **given))
    assert other.stat().st_size == size
    shutil.copy(other, file)  # whole, but not the one that was sealed
    with pytest.raises(
        ModelError, match="w.safetensors is damaged or of another version: its size or header"
    ):
        dict(weights.read(file, sealed=sealed))
    file.unlink()
    with pytest.raises(ModelError, match="w.safetensors is damaged"):
        dict(weights.read(file, sealed=sealed))


def test_another_shape_is_not_spread_over_the_tensor(tmp_path):
    """torch would copy a row into every row of a matrix."""
    file = weights.save(tmp_path / "w.safetensors", {"a": torch.ones(5)})
    with pytest.raises(ModelError, match=r"another model: 'a' has shape \(5,\), and not \(3, 5\)"):
        weights.copy_into(file, {"a": torch.zeros(3, 5)})
    with pytest.raises(ModelError, match="w.safetensors"):
        weights.copy_into(file, {"b": torch.zeros(5)})


def test_a_digest_tells_every_bit_type_and_shape_apart():
    one = torch.zeros(4, 2)
    others = [one.view(2, 4), one.int(), one.bfloat16(), -one, torch.zeros(4, 3)]
    assert len({weights.digest(t) for t in [one, *others]}) == 6
    assert weights.digest(torch.zeros(2, 4).T) == weights.digest(one)  # strides are not content
    draw = random.Random(0)
    for _ in range(50):
        changed = torch.zeros(4, 2)
        changed.view(torch.int32).view(-1)[draw.randrange(8)] ^= 1 << draw.randrange(31)
        assert weights.digest(changed) != weights.digest(one)


def test_a_kept_start_is_mended(tiny_model):
    model = tiny_model()
    path = weights.keep_initial(model)
    assert weights.keep_initial(model) == path
    flip(path, path.stat().st_size - 9)
    with pytest.raises(ModelError, match="damaged"):
        dict(weights.read(path))
    assert weights.keep_initial(model) == path
    assert same(dict(weights.read(path)), weights_of(model))
