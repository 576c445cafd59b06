"""Weights as they were, directions on disk, and the one place where a direction is added to weights."""

import math
import shutil
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unlearnkit import paths, weights
from unlearnkit.errors import DivergenceError, MethodError
from unlearnkit.unlearning.limits import require_finite

if TYPE_CHECKING:
    from unlearnkit.unlearning.inputs import Inputs

Direction = Iterable[tuple[str, torch.Tensor]]  # (parameter name, dense tensor), one at a time


class Originals:
    """The touched weights as they were, on disk and not in memory; the file goes when this does.

    `installed` holds a function for each thing that a method put beside the weights, which takes it away.
    """

    def __init__(self, touched: dict[str, torch.nn.Parameter]):
        self.touched = touched
        self.installed: list[Callable[[], object]] = []
        self.path = paths.run_cache() / "originals" / f"{uuid.uuid4().hex}.safetensors"
        weights.save(self.path, touched)
        self._cleanup = weakref.finalize(self, self.path.unlink, missing_ok=True)

    def restore(self) -> None:
        """Everything as it was, bit for bit."""
        while self.installed:
            self.installed.pop()()
        weights.copy_into(self.path, {n: p.data for n, p in self.touched.items()})

    def distance(self) -> float:
        """How far the touched weights are from what they were, one tensor at a time."""
        return weights.distance(self.path, {n: p.data for n, p in self.touched.items()})


class Stored:
    """A direction kept on disk, a file a parameter, to be streamed again and again; gone when this is."""

    def __init__(self, direction: Direction):
        self.folder = paths.run_cache() / "originals" / uuid.uuid4().hex
        self._cleanup = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.files: list[Path] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        squares = 0.0
        for name, tensor in direction:
            squares += weights.squared_length(tensor)
            self.shapes[name] = tuple(tensor.shape)
            self.files.append(weights.save(self.folder / f"{len(self.files)}.safetensors", {name: tensor}))
        self.length = math.sqrt(squares)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for file in self.files:
            yield from weights.read(file)


def length(direction: Direction) -> float:
    """Euclidean norm of a direction, which is gone through unless it was stored."""
    if isinstance(direction, Stored):
        return direction.length
    return math.sqrt(sum(weights.squared_length(g) for _, g in direction))


def require_length(size: float, inputs: "Inputs", whose: str) -> float:
    """A length that a control matches; MethodError where there is none."""
    if size == 0:
        raise MethodError(
            f"method {inputs.method!r}: the {whose} gradient is zero on layers {inputs.layers!r}, so no "
            "length can be matched. Name other layers, or examples that were still learnt in epoch 1"
        )
    return size


def rescaled(
    inputs: "Inputs", make: Callable[[], Direction], whose: str, like: Direction
) -> Iterator[tuple[str, torch.Tensor]]:
    """The direction that `make` streams anew at each call, brought to the length of the request's, `like`."""
    size = require_length(length(like), inputs, "request's first-epoch")
    scale = size / require_length(length(make()), inputs, whose)
    return ((name, gradient.mul_(scale)) for name, gradient in make())


def add(touched: Mapping[str, torch.nn.Parameter], direction: Direction, alpha: float) -> None:
    """theta += alpha * direction. DivergenceError if a weight is no longer finite: the caller restores."""
    require_finite(alpha)
    with torch.no_grad():
        for name, tensor in direction:
            touched[name].add_(tensor.to(touched[name]), alpha=alpha)
            require_finite_weights({name: touched[name]}, f"alpha={alpha:g}")


def require_finite_weights(touched: Mapping[str, torch.nn.Parameter], where: str) -> None:
    """DivergenceError that names the first parameter which is not finite."""
    for name, parameter in touched.items():
        if not weights.is_finite(parameter):
            raise DivergenceError(
                f"unlearning diverged: {name} is not finite at {where}; the weights were restored. Use a "
                "smaller strength"
            )
