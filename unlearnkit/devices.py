"""Where models run: the processor, or a GPU through CUDA. Imports no torch until there may be one.

A device is named once, where a model is loaded; all else follows the model's parameters. Random numbers are
drawn on the processor and moved, so that they are the same everywhere. Other numbers agree to rounding: two
devices add up in another order, and a GPU does so from run to run.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from unlearnkit.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from torch import nn

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
DEVICES = (AUTO, CPU, CUDA)
PROVEN = (CPU, CUDA)  # types of device that tests hold against each other
DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # files of a GPU's driver: on Linux, and on Linux within Windows


def resolved(name: str, asked: str = "device") -> str:
    """The device that a name stands for: "cpu", "cuda", or "auto", which is "cuda" where there is a GPU.

    ConfigError for another name, and for "cuda" where torch finds no GPU; `asked` is what was given it.
    """
    if name not in DEVICES:
        raise ConfigError(f"{asked}={name!r}: nothing is proven there; use one of {', '.join(DEVICES)}")
    if name == CPU or name == AUTO and not any(map(os.path.exists, DRIVERS)):
        return CPU
    import torch  # here: planning asks too

    if torch.cuda.is_available():
        return CUDA
    if name == CUDA:
        raise ConfigError(
            f"{asked}='cuda': torch {torch.__version__} finds no GPU. Use {asked}='cpu', or install the "
            "GPU's driver and a build of torch with CUDA"
        )
    return CPU


def of(config: Mapping) -> str:
    """Where a cell of this configuration computes: where that says, or UNLEARNKIT_DEVICE; else on the CPU.

    A published cell names no device: it is the same cell to rounding, and tells where it was made.
    """
    return config.get("device") or resolved(os.environ.get("UNLEARNKIT_DEVICE", CPU), "UNLEARNKIT_DEVICE")


def described(device: str) -> str:
    """A device with the name of what it is, for the record."""
    if device != CUDA:
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name()})"


def require_proven(model: "nn.Module") -> None:
    """ModelError for a model on a device that is not proven (such as Apple's MPS), or on several."""
    places = {str(parameter.device): parameter.device.type for parameter in model.parameters()}
    if len(places) > 1:
        raise ModelError(
            f"the model lies on several devices ({', '.join(places)}): move it to one, model.to('cuda')"
        )
    if unproven := set(places.values()) - set(PROVEN):
        raise ModelError(
            f"the model is on {min(unproven)!r}, where nothing is proven: model.to('cpu'), or to 'cuda'"
        )
