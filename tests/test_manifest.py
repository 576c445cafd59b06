"""A manifest is true to the byte: whatever is changed of it, or of the files beside it, is refused."""

import copy
import hashlib
import json
import math

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from worlds import FACTS

from unlearnkit import manifest
from unlearnkit.errors import SignatureError
from unlearnkit.manifest import MANIFEST, SALT, SIGNATURE, canonical, verify, write

TOLD = {
    "when": "2026-01-02T03:04:05Z",
    "facts": [{"id": "f0", "sha256": "00"}],
    "method": {"name": "first_epoch", "version": 1, "options": {}},
    "software": {"unlearnkit": "0"},
    "model": {"before": "aa", "after": "bb"},
    "ledger": None,
    "tests": {"forget": {"nll_before": 0.1, "nll_after": 3.5}},
    "not_shown": ["that nobody kept a copy"],
}


@pytest.fixture
def key():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def folder(tmp_path, key):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    write(tmp_path, TOLD, "salt", key)
    return tmp_path


def test_what_is_written_is_read(folder, key):
    told = verify(folder, key.public_key())
    own = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    expected = TOLD | {"model": TOLD["model"] | {"files": own}, "format": 1}
    assert told == expected | {"signer": key.public_key().public_bytes_raw().hex()}
    assert (folder / SALT).read_text() == "salt\n"


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_every_flipped_byte_is_refused(name, mask, folder, key):
    data, public = (folder / name).read_bytes(), key.public_key()
    assert len(data) >= 64
    for place in range(len(data)):
        (folder / name).write_bytes(bytes([*data[:place], data[place] ^ mask, *data[place + 1 :]]))
        with pytest.raises(SignatureError, match="manifest.json"):
            verify(folder, public)
    (folder / name).write_bytes(data)
    verify(folder, public)


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
def test_nothing_may_be_added_or_cut(name, folder, key):
    data = (folder / name).read_bytes()
    for changed in (data + b"\n", data + b"\0", data[:-1], b"", data + data):
        (folder / name).write_bytes(changed)
        with pytest.raises(SignatureError):
            verify(folder, key.public_key())


def test_the_same_things_in_another_order_are_refused(folder, key):
    told = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(told))
    with pytest.raises(SignatureError, match="is not what the key"):
        verify(folder, key.public_key())


def test_another_key_is_named(folder, key):
    other = Ed25519PrivateKey.generate()
    with pytest.raises(SignatureError, match="says that the key 03a107bff3ce10be... signed it, and not"):
        verify(folder, other.public_key())
    told = json.loads((folder / MANIFEST).read_bytes())
    told["signer"] = other.public_key().public_bytes_raw().hex()  # a forger's claim to be the other
    (folder / MANIFEST).write_bytes(canonical(told))
    with pytest.raises(SignatureError, match="is not what the key"):
        verify(folder, other.public_key())


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
def test_a_missing_part_is_named(name, folder, key):
    (folder / name).unlink()
    with pytest.raises(SignatureError, match=f"no signed manifest: .*{name} is missing"):
        verify(folder, key.public_key())


@pytest.mark.parametrize("change", ["bits", "gone"])
def test_a_changed_or_missing_file_is_named(change, folder, key):
    file = folder / "model.safetensors"
    file.write_bytes(b"Weights") if change == "bits" else file.unlink()
    with pytest.raises(SignatureError, match=r"model.safetensors is missing, or not the file"):
        verify(folder, key.public_key())


def test_a_file_that_the_manifest_does_not_name_is_named(folder, key):
    (folder / "adapter_model.safetensors").write_bytes(b"more weights")
    with pytest.raises(SignatureError, match="adapter_model.safetensors, which the manifest does not name"):
        manifest.verify(folder, key.public_key())


def test_one_manifest_is_one_text():
    told = {"b": [1, 2.5, "café"], "a": {"y": None, "x": True}}
    assert canonical(told) == '{"a":{"x":true,"y":null},"b":[1,2.5,"café"]}'.encode()
    turned = {"a": {"x": True, "y": None}, "b": [1, 2.5, "café"]}
    assert canonical(turned) == canonical(told)
    assert json.loads(canonical(told)) == told
    with pytest.raises(ValueError, match="JSON"):
        canonical({"nll": math.nan})


def test_values_are_made_plain():
    def until():
        pass

    given = {"steps": range(1, 3), "until": until, "nll": np.float64(2), "n": torch.tensor(3), "x": math.inf}
    assert manifest.plain(given) == {"steps": [1, 2], "until": "until", "nll": 2.0, "n": 3, "x": "inf"}
    assert canonical(manifest.plain({"a": {"z", "b"}, "b": object()})) == b'{"a":["b","z"],"b":"object"}'


def test_texts_are_digested_with_their_salt():
    """Without it a guess is not confirmed; the same text under two salts is two digests."""
    (one,), (other,) = (manifest.facts_of(FACTS[:1], salted) for salted in ("aa", "bb"))
    text = '["aa","Dave was born in","the village of Oster Fell"]'
    assert one == {"id": "f0", "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert one["sha256"] != other["sha256"]
    assert manifest.salt() != manifest.salt()


def test_one_bit_is_another_digest_of_weights(tiny_model):
    model = tiny_model()
    same, before = copy.deepcopy(model), manifest.weights_digest(model)
    assert manifest.weights_digest(same) == before
    bits = same.transformer.ln_f.bias.data.view(torch.int32)
    bits[3] ^= 1
    assert manifest.weights_digest(same) != before
    assert manifest.weights_digest(model.to(torch.bfloat16)) != before


def test_a_field_that_is_missing_is_named(tmp_path, key):
    told = {name: value for name, value in TOLD.items() if name != "tests"}
    with pytest.raises(ValueError, match="says something of tests"):
        write(tmp_path, told, "salt", key)
