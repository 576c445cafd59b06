"""A folder that is delivered whole or not at all, and a model in it that others can load."""

import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from transformers import PreTrainedModel

from unlearnkit import files, manifest, models
from unlearnkit.errors import ConfigError, ModelError
from unlearnkit.models.registry import READ

# What of a model's folder goes along: what a loader reads. Whatever else lies there may be private.
BESIDE_WEIGHTS = frozenset(
    f"{name}.json"
    for name in (
        *("config", "generation_config", "tokenizer", "tokenizer_config", "special_tokens_map"),
        *("added_tokens", "vocab", "chat_template"),
    )
) | {"vocab.txt", "merges.txt", "chat_template.jinja", "tokenizer.model", "spiece.model"}

SCRATCH = "scratch"
LOCK = "lock"
ENDS = (signal.SIGTERM, signal.SIGHUP)


def require_free(out: Path) -> None:
    """ConfigError where something is at `out` already, or nothing can be put there."""
    out = _behind_links(out)
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"--out: {out} is not empty; give a folder that is, or a new one")
    if os.path.lexists(out) and not out.is_dir():
        raise ConfigError(f"--out: {out} is no folder; give a new one")
    if out.is_mount():
        raise ConfigError(f"--out: {out} is where a disk is mounted; give a folder inside it")
    parent = next(p for p in out.parents if p.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise ConfigError(f"--out: nothing can be written to {parent}")


def require_room(out: Path, size: float) -> None:
    """ConfigError where the disk of `out` has less room than so many bytes."""
    parent = next(p for p in _behind_links(out).parents if p.exists())
    if (free := shutil.disk_usage(parent).free) < size:
        raise ConfigError(
            f"--out: this takes about {size / 1e9:.1f} GB of disk, and {parent} has {free / 1e9:.1f} GB: "
            "make room, or give a folder elsewhere"
        )


def _behind_links(out: Path) -> Path:
    """The absolute path that links lead to, whether something is there or not."""
    return Path(os.path.realpath(out))


@contextmanager
def staged(out: Path) -> Iterator[tuple[Path, Path]]:
    """(folder, scratch), both new: the first takes the place of `out` when the block ends, the second goes.

    They are beside `out`, or what it links to, on its disk. Nothing is left of a block that fails or is told
    to end (SIGTERM, SIGHUP); what a call that was killed left, the next one into the same parent removes.
    """
    out = _behind_links(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(out.parent)
    place = Path(tempfile.mkdtemp(files.PARTIAL, f".{out.name}.", out.parent))
    folder, scratch = place / "folder", place / SCRATCH
    try:
        with _ending(), FileLock(place / LOCK):
            folder.mkdir()
            scratch.mkdir()
            yield folder, scratch
            os.replace(folder, out)  # over an empty folder too
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _ending() -> Iterator[None]:
    """Meanwhile ENDS are exceptions, so that what was begun is cleared away; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _remove_left(parent: Path) -> None:
    """Delete what calls for folders in this one left, whose locks no process holds, here or elsewhere."""
    for path in parent.glob(f".*{files.PARTIAL}"):
        if (path / SCRATCH).is_dir() and (path / LOCK).exists():
            with suppress(Timeout, OSError), FileLock(path / LOCK, timeout=0):  # held, or another user's
                shutil.rmtree(path, ignore_errors=True)


def save(model: PreTrainedModel, name: str, folder: Path) -> PreTrainedModel:
    """Write a model, in the precision it has, with the tokenizer and settings of the folder it came from.

    Returns it as read back, for measuring what is delivered. ModelError on a full disk, or where what is read
    is not what was written.
    """
    try:
        model.save_pretrained(folder)
    except SafetensorError as error:
        raise ModelError(f"the model could not be written to {folder}: {error}. Free space there") from error
    for pattern in READ:
        for path in models.fetch(name).glob(pattern):
            if path.name in BESIDE_WEIGHTS:
                shutil.copyfile(path, folder / path.name)
    config = json.loads((folder / "config.json").read_text())
    config.pop("torch_dtype", None)  # its older name
    config |= {"dtype": str(model.dtype).removeprefix("torch."), "architectures": [type(model).__name__]}
    files.write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    read, _ = models.load(str(folder), dtype=model.dtype, device=model.device.type)
    if manifest.weights_digest(read) != manifest.weights_digest(model):
        raise ModelError(f"{name} does not come back from a saved folder as it was: some weight is not saved")
    return read
