"""Signatures are RFC 8032's, keys are made once and are nobody else's, and nothing changed passes."""

import hashlib
import os
import shutil
import stat
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unlearnkit import paths, signing
from unlearnkit.errors import SignatureError

# RFC 8032, section 7.1: secret key, public key, message, signature.
VECTORS = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
        "3dca179c138ac17ad9bef1177331a704",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_rfc_8032(name, tmp_path):
    """By way of the files: what is written and read back is the key of the vector."""
    secret, public, message, signature = map(bytes.fromhex, VECTORS[name])
    key = Ed25519PrivateKey.from_private_bytes(secret)
    keep(key, tmp_path / "key")
    (tmp_path / "pub").write_text(signing.as_text(key.public_key()))
    assert signing.private_key(tmp_path / "key").sign(message) == signature
    read = signing.public_key(tmp_path / "pub")
    assert signing.as_hex(read) == public.hex()
    signing.require_signed(read, message, signature, "the message")
    for place in range(len(signature)):
        flipped = bytes([*signature[:place], signature[place] ^ 1, *signature[place + 1 :]])
        with pytest.raises(SignatureError, match="the message is not what the key"):
            signing.require_signed(read, message, flipped, "the message")


def keep(key, path):
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    path.chmod(0o600)


def test_the_users_key_is_made_once_and_for_them_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(0)
    try:
        first = signing.private_key()
    finally:
        os.umask(before)
    path = paths.user_config() / "signing.key"
    assert path.is_relative_to(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(p.name for p in path.parent.iterdir()) == ["signing.key", "signing.key.pub"]
    again = signing.private_key()
    assert again.private_bytes_raw() == first.private_bytes_raw()
    assert signing.as_hex(signing.public_key(f"{path}.pub")) == signing.as_hex(first.public_key())


def test_many_at_once_make_one_key(tmp_path):
    found = []
    makers = [
        threading.Thread(target=lambda: found.append(signing.private_key(tmp_path / "k"))) for _ in "12345"
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len({key.private_bytes_raw() for key in found}) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k", "k.pub"]


def test_a_key_that_others_may_read_is_refused(tmp_path):
    signing.private_key(tmp_path / "k")
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(SignatureError, match=r"others may read .*k: chmod 600"):
        signing.private_key(tmp_path / "k")


def test_what_is_no_key_is_refused(tmp_path):
    for name, data in {"text": b"no key", "empty": b""}.items():
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(SignatureError, match="holds no private key in PEM"):
            signing.private_key(path)
        with pytest.raises(SignatureError, match="holds no public key in PEM"):
            signing.public_key(path)
    other = ec.generate_private_key(ec.SECP256R1())
    keep(other, tmp_path / "other")
    with pytest.raises(SignatureError, match="another kind than Ed25519"):
        signing.private_key(tmp_path / "other")
    (tmp_path / "other.pub").write_text(signing.as_text(other.public_key()))
    with pytest.raises(SignatureError, match="another kind than Ed25519"):
        signing.public_key(tmp_path / "other.pub")
    with pytest.raises(SignatureError, match="cannot be read: No such file"):
        signing.public_key(tmp_path / "missing")
    with pytest.raises(SignatureError, match="no key can be made at .*text.k: "):
        signing.private_key(tmp_path / "text" / "k")


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length, tmp_path):
    key = signing.private_key(tmp_path / "k")
    with pytest.raises(SignatureError, match=f"has {length} bytes instead of 64"):
        signing.require_signed(key.public_key(), b"", bytes(length), "it")


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")
def test_openssl_agrees(tmp_path):
    key = signing.private_key(tmp_path / "k")
    (tmp_path / "message").write_bytes(b"forgotten")
    (tmp_path / "signature").write_bytes(key.sign(b"forgotten"))
    asked = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "k.pub", "-in", "message"]
    done = subprocess.run([*asked, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout, done.stderr
