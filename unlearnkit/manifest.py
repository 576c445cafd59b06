"""A forget request's signed manifest: what was asked, done and tested, and what that leaves open.

    manifest.json  canonical JSON: one way to write it, so that equal manifests are equal bytes
    manifest.sig   the Ed25519 signature of those bytes
    manifest.salt  not to be passed on with these, but to whom it is to be shown which texts are meant

It holds ids and digests of texts, and no text. A plain digest of a short text confirms a guess; these are of
a salt before the text, which the manifest does not hold.
"""

import hashlib
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from torch import nn

from unlearnkit import files, signing
from unlearnkit.data import Example
from unlearnkit.errors import SignatureError
from unlearnkit.packages import file_sha256

FORMAT = 1
OWN = MANIFEST, SIGNATURE, SALT = tuple(f"manifest.{end}" for end in ("json", "sig", "salt"))
FIELDS = ("format", "when", "facts", "method", "software", "model", "ledger", "tests", "not_shown", "signer")


def canonical(told: Mapping[str, Any]) -> bytes:
    """JSON as UTF-8, keys sorted, no space: RFC 8785 but for how it writes fractions, which are Python's."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def plain(value: Any) -> Any:
    """A value as JSON has it: a range as a list; infinity, functions and other things by their names."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if hasattr(value, "item"):  # of numpy or torch
        return plain(value.item())
    return getattr(value, "__name__", type(value).__name__)


def salt() -> str:
    """A new one."""
    return secrets.token_hex(16)


def facts_of(facts: Sequence[Example], salted: str) -> list[dict[str, str]]:
    """The id of each fact, and the sha256 of salt, prompt and answer."""
    return [{"id": e.id, "sha256": text_digest(e, salted)} for e in facts]


def text_digest(fact: Example, salted: str) -> str:
    """sha256 in hexadecimal of the canonical JSON [salt, prompt, answer]."""
    return hashlib.sha256(canonical([salted, fact.prompt, fact.answer])).hexdigest()


def weights_digest(model: nn.Module) -> str:
    """sha256 in hexadecimal of every parameter, by name: name, dtype, shape and bytes."""
    found = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        found.update(f"{name} {parameter.dtype} {tuple(parameter.shape)};".encode())
        found.update(parameter.detach().cpu().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def write(folder: str | Path, told: Mapping[str, Any], salted: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Put a manifest of these fields, its signature and its salt into a folder; returns it.

    Adds `format` and `signer`, the public key; and to `model` the sha256 of every file in the folder that is
    not the manifest's own. ValueError for a field that is missing.
    """
    folder = Path(folder)
    own = {p.name: file_sha256(p) for p in sorted(folder.iterdir()) if p.name not in OWN}
    added = {"format": FORMAT, "signer": signing.as_hex(key.public_key())}
    whole = plain(dict(told) | added | {"model": {**told["model"], "files": own}})
    if missing := [field for field in FIELDS if field not in whole]:
        raise ValueError(f"a manifest says something of {', '.join(missing)}")
    message = canonical(whole)
    files.write_text(folder / SALT, f"{salted}\n")
    (folder / SALT).chmod(0o600)
    files.write_bytes(folder / MANIFEST, message)
    files.write_bytes(folder / SIGNATURE, key.sign(message))
    return whole


def verify(folder: str | Path, key: Ed25519PublicKey) -> dict[str, Any]:
    """The manifest of a folder, once this key's signature of every byte of it, and its files, are found true.

    SignatureError that says what is not: a manifest or signature that is missing or was changed, another key,
    a file beside it that is missing or another one, or that it does not name: an adapter would be loaded.
    """
    folder = Path(folder)
    try:
        message, signature = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise SignatureError(f"{folder} holds no signed manifest: {error.filename} is missing") from error
    _require_signer(message, key, folder / MANIFEST)
    signing.require_signed(key, message, signature, str(folder / MANIFEST))
    told = json.loads(message)
    for name, digest in told["model"]["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != digest:
            raise SignatureError(f"{folder / name} is missing, or not the file that the manifest tells of")
    named = {*told["model"]["files"], *OWN}
    if others := sorted(p.name for p in folder.iterdir() if p.name not in named):
        raise SignatureError(
            f"{folder} holds {', '.join(others[:5])}, which the manifest does not name and a loader might "
            "read: move it elsewhere"
        )
    return told


def _require_signer(message: bytes, key: Ed25519PublicKey, path: Path) -> None:
    """SignatureError where the manifest, true or not, names another signer: the usual mistake."""
    try:
        named = json.loads(message)["signer"]
    except (ValueError, KeyError, TypeError):
        return  # the signature tells
    given = signing.as_hex(key)
    if named != given:
        raise SignatureError(
            f"{path} says that the key {str(named)[:16]}... signed it, and not {given[:16]}...: give the "
            "public key of whoever made it, unless it was changed"
        )
