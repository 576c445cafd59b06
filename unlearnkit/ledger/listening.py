"""What a model does with its parameters, seen at the operations themselves rather than at its modules.

A module's name and arguments promise nothing: OPT's position embedding is called with the attention mask,
Gemma scales its token embedding, an adapter may wrap a layer, a hook may change an output. But each of them
ends in a call of `linear`, `addmm` or `embedding` with a parameter as its weight, and the gradient there is
known: dW = d^T x, with x what enters the operation and d the gradient at what leaves it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode


class Use(NamedTuple):
    """One operation on parameters. `x` holds token ids (or positions) where `kind` is embedding."""

    kind: str  # linear | conv1d | embedding
    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None = None
    padding: int | None = None  # the id whose row of an embedding gets no gradient


Told = Callable[[Use, torch.Tensor], torch.Tensor]  # what goes on through the model: the output


class Listener(TorchFunctionMode):
    """While entered, calls `told(use, output)` after each such operation.

    `rows` is the number of examples in the forward pass to come, and 0 for one that nobody listens to. An
    embedding of one row of ids (GPT-2's positions) is first widened to it, so that each example has its own.
    """

    def __init__(self, told: Told, rows: int = 0):
        super().__init__()
        self.told, self.rows = told, rows

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        read = READERS.get(func)
        if read is None or (use := read(*args, **kwargs)) is None:
            return func(*args, **kwargs)
        if use.kind == "embedding" and use.x.dim() == 2 and use.x.shape[0] == 1 < self.rows:
            use = use._replace(x=use.x.expand(self.rows, -1))
            args, kwargs = (use.x, *args[1:]), {k: v for k, v in kwargs.items() if k != "input"}
        return self.told(use, func(*args, **kwargs))


def _linear(input, weight, bias=None) -> Use:  # torch's own names, which callers may give
    return Use("linear", input, weight, bias)


def _addmm(input, mat1, mat2, *, beta=1, alpha=1, out=None) -> Use | None:
    plain = beta == alpha == 1 and out is None
    return Use("conv1d", mat1, mat2, input) if plain else None


def _embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
) -> Use | None:
    if max_norm is not None or scale_grad_by_freq or sparse:
        return None
    padding = padding_idx + len(weight) if padding_idx is not None and padding_idx < 0 else padding_idx
    return Use("embedding", input, weight, padding=padding)


READERS = {F.linear: _linear, torch.addmm: _addmm, F.embedding: _embedding}


def listen_to(model: nn.Module, listener: Listener) -> list:
    """Enter the listener for forward passes of the model; returns the handles that end it."""

    def begin(_module, _args) -> None:
        if listener.rows:
            listener.__enter__()

    def end(_module, _args, _output) -> None:
        if listener.rows:
            listener.__exit__(None, None, None)

    return [model.register_forward_pre_hook(begin), model.register_forward_hook(end, always_call=True)]
