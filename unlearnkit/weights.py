"""Weights on disk: written atomically as safetensors, copied back into a model in place.

A file's own metadata holds the digest of each of its tensors, and a tensor that is not that one any more is
never given out. A `seal` of the file, kept elsewhere, tells it from every other file as well.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from unlearnkit import files, models, paths
from unlearnkit.errors import ModelError


def save(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write tensors to `path`; nothing half-written is left. ModelError on a full or unwritable disk."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as partial:
            values = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
            save_file(values, partial, {k: digest(t) for k, t in values.items()} or None)
            _order_metadata(partial)
    except (OSError, SafetensorError) as error:
        size = sum(t.nbytes for t in tensors.values()) / 1e6
        raise ModelError(
            f"{size:,.0f} MB of weights could not be written to {path}: {error}. Free space there"
        ) from error
    return path


def _order_metadata(path: Path) -> None:
    """Sort a file's metadata, which safetensors orders by chance: the same tensors, the same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        ordered = json.dumps(
            {k: dict(sorted(v.items())) if k == "__metadata__" else v for k, v in header.items()},
            separators=(",", ":"),
            ensure_ascii=False,
        )
        file.seek(8)
        file.write(ordered.encode().ljust(size))


def digest(tensor: torch.Tensor) -> str:
    """xxh3-64 in hexadecimal of a tensor's dtype, shape and every byte; 7 GB a second."""
    found = xxhash.xxh3_64(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
    found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def seal(path: Path) -> list:
    """What tells this file from any other: its size, and the digest of its header, which holds the others."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = file.read(8)
        header = file.read(min(int.from_bytes(length, "little"), size))
    return [size, xxhash.xxh3_64_hexdigest(length + header)]


def read(
    path: Path, names: Iterable[str] | None = None, sealed: list | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """The named tensors of a file, or all, one at a time.

    ModelError naming the file where one of them is missing or not what was written; with the `seal` that the
    file had when written, also where it is another one.
    """
    try:
        if sealed is not None and seal(path) != sealed:
            raise _damaged(path, "its size or header is not the one written")
        with safe_open(path, "pt") as file:
            digests = file.metadata() or {}
            for name in file.keys() if names is None else names:  # noqa: SIM118 (not a mapping)
                tensor = file.get_tensor(name)
                if digest(tensor) != digests.get(name):
                    raise _damaged(path, f"{name!r} is not what was written, or has no digest")
                yield name, tensor
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error


def names(path: Path) -> list[str]:
    """Names of a file's tensors. ModelError where it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, how: str) -> ModelError:
    return ModelError(
        f"weights file {path} is damaged or of another version: {how}. Restore it from a copy, or delete its "
        "folder and make it again"
    )


def parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's parameters by name; a tied one once."""
    return dict(model.named_parameters())


def squared_length(tensor: torch.Tensor) -> float:
    """Sum of squares: float32 within a row and float64 over rows, without a copy in float64."""
    tensor = torch.atleast_1d(tensor)
    rows = tensor.reshape(-1, tensor.shape[-1])
    return torch.linalg.vector_norm(rows, dim=1).double().square().sum().item()


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no element is infinite or NaN, by the extremes, which takes no second tensor."""
    return all(math.isfinite(bound.item()) for bound in torch.aminmax(tensor))


def copy_into(path: Path, tensors: Mapping[str, torch.Tensor], sealed: list | None = None) -> None:
    """Overwrite tensors in place with those of the same names in a file, one at a time. Errors as for `read`.

    A tensor that is damaged in the file, or of another shape there (ModelError), is left as it is.
    """
    with torch.no_grad():
        for name, stored in read(path, tensors, sealed):
            if stored.shape != tensors[name].shape:
                raise ModelError(
                    f"weights file {path} is of another model: {name!r} has shape {tuple(stored.shape)}, and "
                    f"not {tuple(tensors[name].shape)}"
                )
            tensors[name].copy_(stored)


def distance(path: Path, tensors: Mapping[str, torch.Tensor]) -> float:
    """Euclidean distance of tensors from those of the same names in a file. Errors as for `read`."""
    with torch.no_grad():
        stored = read(path, tensors)
        return sum(squared_length(tensors[n] - t.to(tensors[n].device)) for n, t in stored) ** 0.5


def keep_initial(model: nn.Module) -> Path:
    """Keep theta_0 under its own fingerprint: runs from one start share one file, written anew if damaged."""
    path = paths.run_cache() / "initial" / f"{models.fingerprint(model)}.safetensors"
    here = parameters(model)
    return path if path.exists() and _holds(path, here) else save(path, here)


def _holds(path: Path, tensors: Mapping[str, torch.Tensor]) -> bool:
    try:
        return all(torch.equal(stored, tensors[name].cpu()) for name, stored in read(path, tensors))
    except ModelError:
        return False
