"""Quantisation: does rounding the weights bring back what a small step had hidden? (arXiv:2410.16454)

Round to nearest, symmetric, one scale an output channel; computed in floating point, as a weight-only scheme
does once it has unpacked its weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from unlearnkit.errors import ConfigError
from unlearnkit.layers import Layers, select, tags, turned
from unlearnkit.metrics.forward import restored


def round_to_nearest(weight: torch.Tensor, bits: int, axis: int = -1) -> torch.Tensor:
    """The weight on a grid of 2^bits - 1 values, scaled so that the largest magnitude along `axis` is on it.

    `axis` is that of the inputs, so that each output channel has its own scale. Zero stays zero.
    """
    if bits < 2:
        raise ConfigError(f"bits={bits}: a symmetric grid needs at least 2")
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(axis, keepdim=True) / most
    grid = (weight / scale.clamp(min=torch.finfo(weight.dtype).tiny)).round().clamp(-most, most)
    return grid * scale


@contextmanager
def quantised(model: PreTrainedModel, bits: int, layers: Layers = "all") -> Iterator[PreTrainedModel]:
    """The model with the matrices of these layers rounded, frozen ones too; after it every bit is as it was.

    Each token is a channel of the token matrix, and of the output head. Vectors (norms, biases) stay as they
    are.
    """
    named = dict(model.named_parameters())
    chosen = {slot.parameter for slot in select(tags(model, trainable_only=False), layers)}
    matrices = {name: named[name] for name in named if name in chosen and named[name].dim() > 1}
    across = dict.fromkeys(matrices, -1) | dict.fromkeys(turned(model), 0)
    with restored(model, matrices):
        with torch.no_grad():
            for name, parameter in matrices.items():
                parameter.copy_(round_to_nearest(parameter, bits, axis=across[name]))
        yield model
