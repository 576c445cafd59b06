"""Ed25519 signatures (RFC 8032), by the package `cryptography`: a user's one key, made when first needed.

The private key is PKCS#8 in PEM, mode 0600; the public one stands beside it as NAME.pub, in PEM too. openssl
reads both: `openssl pkeyutl -verify -rawin -pubin -inkey signing.pub -in FILE -sigfile FILE.sig`.
"""

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from unlearnkit import files, paths
from unlearnkit.errors import SignatureError

KEY = "signing.key"  # in the user's own folder
SIGNATURE_BYTES = 64
OTHERS = 0o077  # permissions that a private key must not give


def key_path(path: str | Path | None = None) -> Path:
    """Where the private key is: the path given, or the user's own."""
    return paths.expanded(path) if path else paths.user_config() / KEY


def private_key(path: str | Path | None = None) -> Ed25519PrivateKey:
    """The key in a file, by default the user's; made where there is none.

    SignatureError for a file that others may read, or that holds no such key.
    """
    path = key_path(path)
    if not path.exists():
        _make(path)
    try:
        if path.stat().st_mode & OTHERS:
            raise SignatureError(f"others may read the private key {path}: chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SignatureError(f"the private key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a password
        raise SignatureError(f"{path} holds no private key in PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} holds a key of another kind than Ed25519: give another file")
    return key


def public_key(path: str | Path) -> Ed25519PublicKey:
    """The public key in a file. SignatureError where it holds none of Ed25519."""
    try:
        key = serialization.load_pem_public_key(Path(path).read_bytes())
    except OSError as error:
        raise SignatureError(f"the public key {path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{path} holds no public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} holds a key of another kind than Ed25519: give another file")
    return key


def as_text(key: Ed25519PublicKey) -> str:
    """A public key in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def as_hex(key: Ed25519PublicKey) -> str:
    """A public key's 32 bytes as 64 digits: its name."""
    return key.public_bytes_raw().hex()


def require_signed(key: Ed25519PublicKey, message: bytes, signature: bytes, what: str) -> None:
    """SignatureError unless this key signed these very bytes, which messages call `what`."""
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(
            f"the signature of {what} has {len(signature)} bytes instead of {SIGNATURE_BYTES}"
        )
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise SignatureError(
            f"{what} is not what the key {as_hex(key)[:16]}... signed: it or its signature was changed, or "
            "another key signed it"
        ) from None


def _make(path: Path) -> None:
    """A new pair of keys, unless somebody else makes one meanwhile."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # of mode 0600
        try:
            with open(number, "wb") as file:
                file.write(secret)
            os.link(partial, path)  # whole, and never over another
            files.write_text(path.with_name(f"{path.name}.pub"), as_text(key.public_key()))
        except FileExistsError:
            return
        finally:
            os.unlink(partial)
    except OSError as error:
        raise SignatureError(f"no key can be made at {path}: {error.strerror}. Give another file") from error
