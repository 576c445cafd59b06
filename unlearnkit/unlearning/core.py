"""How a direction becomes a change of the weights that can be taken back exactly."""

import dataclasses
import math
import shutil
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import paths, weights
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError, MethodError, RequestError
from unlearnkit.layers import Layers, parameters
from unlearnkit.ledger import GradientLedger, identity

Direction = Iterator[tuple[str, torch.Tensor]]  # (parameter name, dense tensor), one at a time


@dataclass(frozen=True)
class NoOptions:
    """A method without hyperparameters."""


@dataclass(frozen=True)
class Method:
    """One unlearning method: `direction(inputs, options)` streams what alpha multiplies."""

    name: str
    summary: str
    direction: Callable[["Inputs", object], Direction]
    needs: tuple[str, ...] = ("ledger",)
    options: type = NoOptions
    fresh: bool = False  # the direction depends on where the model stands: ask for it again at every step

    def options_from(self, given: dict) -> object:
        """The options dataclass filled in; MethodError for an unknown or unusable one."""
        known = [f.name for f in dataclasses.fields(self.options)]
        if unknown := [k for k in given if k not in known]:
            raise MethodError(
                f"method {self.name!r} has no option {unknown[0]!r}; it has: {', '.join(known) or 'none'}"
            )
        try:
            return self.options(**given)
        except TypeError as error:
            raise MethodError(f"method {self.name!r}: {error}") from None


@dataclass
class Inputs:
    """What a method may draw on. `request` holds the ids of the forget set."""

    model: PreTrainedModel
    request: list[str]
    layers: Layers
    ledger: GradientLedger | None
    examples: Sequence[Example] | None
    tokenizer: PreTrainedTokenizerBase | None

    @classmethod
    def checked(
        cls, method: Method, model, request, layers, ledger, examples, tokenizer, check_model=True
    ) -> "Inputs":
        """RequestError for an empty request; MethodError for a missing input; LedgerError for a misfit."""
        ids = [request] if isinstance(request, str) else list(dict.fromkeys(request))  # a set: each once
        layers = layers if isinstance(layers, str) else list(layers)
        if not ids:
            raise RequestError("the forget request is empty: name at least one example id")
        given = {"ledger": ledger, "examples": examples, "tokenizer": tokenizer}
        if missing := [n for n in method.needs if given[n] is None]:
            raise MethodError(f"method {method.name!r} needs {missing[0]}=: pass it to unlearning.apply")
        if ledger is not None:
            ledger.require_model(model, check_model)
        if examples is not None and (unknown := set(ids) - {e.id for e in examples}):
            raise RequestError(f"the request names ids that are not among examples=: {sorted(unknown)[:5]}")
        return cls(model, ids, layers, ledger, examples, tokenizer)


@dataclass
class Result:
    """What was done. `norm` is the length of the step taken, `touched` the changed parameters' names."""

    method: str
    alpha: float
    norm: float
    seconds: float
    layers: Layers
    touched: list[str]
    originals: "Originals" = field(repr=False)

    def revert(self) -> None:
        """Put back every touched weight, bit for bit."""
        self.originals.restore()


class Stored:
    """A direction kept on disk, a file a parameter, to be streamed again and again; gone when this is."""

    def __init__(self, direction: Direction):
        self.folder = paths.run_cache() / "originals" / uuid.uuid4().hex
        self._cleanup = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.files: list[Path] = []
        squares = 0.0
        for name, gradient in direction:
            squares += weights.squared_length(gradient)
            self.files.append(weights.save(self.folder / f"{len(self.files)}.safetensors", {name: gradient}))
        self.length = math.sqrt(squares)

    def __iter__(self) -> Direction:
        for file in self.files:
            yield from load_file(file).items()


class Originals:
    """The touched weights as they were, on disk and not in memory; the file goes when this does."""

    def __init__(self, touched: dict[str, torch.nn.Parameter]):
        self.touched = touched
        self.path = paths.run_cache() / "originals" / f"{uuid.uuid4().hex}.safetensors"
        weights.save(self.path, touched)
        self._cleanup = weakref.finalize(self, self.path.unlink, missing_ok=True)

    def restore(self) -> None:
        weights.copy_into(self.path, {n: p.data for n, p in self.touched.items()})

    def distance(self) -> float:
        """How far the touched weights are from what they were, one tensor at a time."""
        return weights.distance(self.path, {n: p.data for n, p in self.touched.items()})


def length(direction: Direction) -> float:
    """Euclidean norm of a streamed direction."""
    return math.sqrt(sum(weights.squared_length(g) for _, g in direction))


def add(
    touched: dict[str, torch.nn.Parameter], direction: Iterable[tuple[str, torch.Tensor]], alpha: float
) -> float:
    """theta += alpha * direction; returns the direction's norm. DivergenceError if a weight is not finite."""
    squares = 0.0
    with torch.no_grad():
        for name, gradient in direction:
            squares += weights.squared_length(gradient)
            touched[name].add_(gradient.to(touched[name]), alpha=alpha)
            if not weights.is_finite(touched[name]):
                raise DivergenceError(
                    f"unlearning diverged: {name} is not finite at alpha={alpha:g}; the weights were "
                    "restored. Use a smaller alpha or norm"
                )
    return math.sqrt(squares)


def nonzero(size: float, method: Method) -> float:
    """The length of a direction that is to turn a step length into an alpha."""
    if size == 0:
        raise MethodError(f"method {method.name!r} has a zero direction: no alpha gives a step of any length")
    return size


def _require_finite(*values: float | None) -> None:
    for value in values:
        if value is not None and not abs(value) <= torch.finfo(torch.float32).max:  # nor is NaN
            raise MethodError(f"alpha and norm must be finite float32 numbers, not {value}")


def change(method: Method, inputs: Inputs, options, alpha: float | None, norm: float | None) -> Result:
    """One application (or `options.steps` of them). Exactly one of alpha and norm is given."""
    if (alpha is None) == (norm is None):
        raise MethodError(
            "give exactly one of alpha= (a multiple of the direction) and norm= (a step length)"
        )
    _require_finite(alpha, norm)
    started = time.perf_counter()
    touched = parameters(inputs.model, inputs.layers)
    before = identity.place(inputs.model)
    originals = Originals(touched)
    total = 0.0
    try:
        for _ in range(getattr(options, "steps", 1)):
            direction = method.direction(inputs, options)
            if alpha is None:
                direction = Stored(direction)  # gone through twice; to take it twice may cost a backward pass
                alpha = norm / nonzero(direction.length, method)
                _require_finite(alpha)
            total += alpha * add(touched, direction, alpha)
        identity.note_change(inputs.model, before)
    except BaseException:
        originals.restore()
        raise
    seconds = time.perf_counter() - started
    return Result(method.name, alpha, abs(total), seconds, inputs.layers, list(touched), originals)


def walk(
    method: Method,
    inputs: Inputs,
    options,
    alphas: Sequence[float] | None,
    norms: Sequence[float] | None,
) -> Iterator[Result]:
    """Yield a Result at each alpha (or step length), always from the originals; restore them in the end."""
    if method.fresh:
        raise MethodError(
            f"method {method.name!r} has no fixed direction to walk along: use apply with steps="
        )
    if (alphas is None) == (norms is None):
        raise MethodError("give exactly one of alphas= and norms=")
    touched = parameters(inputs.model, inputs.layers)
    direction = Stored(method.direction(inputs, options))
    if alphas is None:
        alphas = [norm / nonzero(direction.length, method) for norm in norms]
    alphas = list(alphas)
    _require_finite(*alphas)
    before = identity.place(inputs.model)
    originals = Originals(touched)
    try:
        for alpha in alphas:
            started = time.perf_counter()
            originals.restore()
            norm = abs(alpha) * add(touched, direction, alpha)
            seconds = time.perf_counter() - started
            identity.note_change(inputs.model, before)
            yield Result(method.name, alpha, norm, seconds, inputs.layers, list(touched), originals)
    finally:
        originals.restore()
