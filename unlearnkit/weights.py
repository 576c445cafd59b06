"""Weights on disk: written atomically as safetensors, copied back into a model in place."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
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
            save_file({k: t.detach().contiguous() for k, t in tensors.items()}, partial)
    except (OSError, SafetensorError) as error:
        size = sum(t.nbytes for t in tensors.values()) / 1e6
        raise ModelError(
            f"{size:,.0f} MB of weights could not be written to {path}: {error}. Free space there"
        ) from error
    return path


def parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's parameters by name; a tied one once."""
    return dict(model.named_parameters())


def squared_length(tensor: torch.Tensor) -> float:
    """Sum of squares: float32 within a row and float64 over rows, without a copy in float64."""
    rows = tensor.reshape(-1, tensor.shape[-1])
    return torch.linalg.vector_norm(rows, dim=1).double().square().sum().item()


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no element is infinite or NaN, by the extremes, which takes no second tensor."""
    return all(math.isfinite(bound.item()) for bound in torch.aminmax(tensor))


def copy_into(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Overwrite tensors in place with those of the same names in a file, one at a time.

    ModelError when the file is damaged, or lacks a name or shape.
    """
    try:
        with safe_open(path, "pt") as file, torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(file.get_tensor(name))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"weights file {path} is damaged or of another model: {error}") from error


def distance(path: Path, tensors: Mapping[str, torch.Tensor]) -> float:
    """Euclidean distance of tensors from those of the same names in a file, one at a time."""
    with safe_open(path, "pt") as file, torch.no_grad():
        return sum(squared_length(t - file.get_tensor(n).to(t.device)) for n, t in tensors.items()) ** 0.5


def keep_initial(model: nn.Module) -> Path:
    """Keep theta_0 under its own fingerprint, so that runs from one start share one file."""
    path = paths.run_cache() / "initial" / f"{models.fingerprint(model)}.safetensors"
    return path if path.exists() else save(path, parameters(model))
