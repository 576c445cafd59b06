"""Which model a name stands for, as a digest of contents: without torch, and without reading a file twice."""

import json
from contextlib import suppress
from pathlib import Path

import xxhash

from unlearnkit import files
from unlearnkit.models.registry import READ, Entry, entry_of, require_safetensors
from unlearnkit.paths import user_cache

KNOWN = "digests.json"  # in the user's cache: path -> [size, mtime in ns, digest] of files read before


def digest(name: str) -> str:
    """A digest of what `load(name)` loads; nothing is fetched or built for it.

    For a built model its name with the pins and numbers it is made from; for a hub repository the commit in
    the local cache, or the id where there is none; for a folder xxh3-128, in hexadecimal, of the names and
    contents of a model's files. ModelError for an unknown name and a folder without weights.
    """
    found = entry_of(name)
    if isinstance(found, Path):
        return _of_folder(found)
    return _of_hub(found.hub_id) if found.hub_id else _of_built(name, found)


def is_settled(name: str) -> bool:
    """Whether the digest stays what it is; that of a hub repository is another once it has been fetched."""
    found = entry_of(name)
    return isinstance(found, Path) or not found.hub_id or _of_hub(found.hub_id) != found.hub_id


def _of_built(name: str, entry: Entry) -> str:
    return f"{name}-{_hash([entry.source, entry.recipe])}"


def _of_hub(hub_id: str) -> str:
    """The commit of the hub's cache that a load without the network takes."""
    from huggingface_hub import constants

    main = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}" / "refs" / "main"
    return main.read_text().strip() if main.is_file() else hub_id


def _of_folder(folder: Path) -> str:
    require_safetensors(folder)
    paths = sorted({path for pattern in READ for path in folder.absolute().glob(pattern)})
    known = _known()
    entries = {str(path): _entry(path, known.get(str(path))) for path in paths}
    if any(known.get(path) != entry for path, entry in entries.items()):
        with suppress(OSError):  # then they are read again the next time
            user_cache().mkdir(parents=True, exist_ok=True)
            there = {path: entry for path, entry in known.items() if Path(path).exists()}
            files.write_text(user_cache() / KNOWN, json.dumps(there | entries))
    contents = [(path.name, entries[str(path)][2]) for path in paths]
    return _hash(contents)


def _entry(path: Path, known: list | None) -> list:
    """Size, time of change and digest of a file; the known ones if it has not changed since."""
    status = path.stat()
    if known and known[:2] == [status.st_size, status.st_mtime_ns]:
        return known
    contents = xxhash.xxh3_128()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            contents.update(part)
    return [status.st_size, status.st_mtime_ns, contents.hexdigest()]


def _hash(told: list) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(told).encode())


def _known() -> dict[str, list]:
    try:
        return json.loads((user_cache() / KNOWN).read_text())
    except (OSError, ValueError):  # not there yet, or damaged
        return {}
