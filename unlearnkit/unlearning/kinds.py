"""Decorators that make a method of less than a generator, and register it.

line     function(inputs, *, options) -> direction, streamed: (parameter name, tensor) pairs
trained  function(inputs, *, options) -> loss(forget, retain), to be brought down by an optimizer
wrapped  function(inputs, *, options) -> uninstall(), after it installed something; no weight moves
free     a generator of its own: function(inputs, stops, *, options)

Each takes what `frame.Method` says of a method: title, family, source, needs, version. The decorated function
stays as it was written. Imports no torch until a method runs.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from unlearnkit.errors import DivergenceError, MethodError
from unlearnkit.unlearning.frame import register
from unlearnkit.unlearning.inputs import Inputs, Stops

if TYPE_CHECKING:
    import torch

    from unlearnkit.batching import Batch
    from unlearnkit.data import Example

    Loss = Callable[[Batch, Batch | None], torch.Tensor]


def free(**said) -> Callable[[Callable], Callable]:
    """Register a generator as it is."""

    def decorate(function: Callable) -> Callable:
        register(function, function, **said)
        return function

    return decorate


def line(**said) -> Callable[[Callable], Callable]:
    """Stops are theta + alpha * direction, or so long a step, each from the same originals: no drift.

    So they may come in any order, and be chosen one by one by what was seen at those before.
    """

    def decorate(function: Callable) -> Callable:
        def walk(inputs: Inputs, stops: Stops, **options) -> Iterator[dict]:
            from unlearnkit.unlearning.originals import Stored, add

            direction = function(inputs, **options)
            if stops.by == "norm" or not stops.is_one:  # gone through more than once
                direction = Stored(direction)
            unit = stops.unit(direction)
            for number, value in enumerate(stops.values):
                if number:
                    inputs.originals.restore()
                add(inputs.touched, direction, value * unit)
                yield {"alpha": value * unit}

        register(function, walk, goes_back=True, **said)
        return function

    return decorate


def wrapped(**said) -> Callable[[Callable], Callable]:
    """The function installs something on the model or tokenizer; what it returns takes that away again."""

    def decorate(function: Callable) -> Callable:
        def walk(inputs: Inputs, _stops: Stops, **options) -> Iterator[dict]:
            inputs.originals.installed.append(function(inputs, **options))
            yield {}

        register(function, walk, stops=(), moves=False, **said)
        return function

    return decorate


def trained(
    *,
    lr: float,
    steps: int | Sequence[int],
    optimizer: str = "adamw",
    batch_size: int = 8,
    loss_on: str = "answer",
    seed: int = 0,
    needs: tuple[str, ...] = ("examples", "tokenizer"),
    **said,
) -> Callable[[Callable], Callable]:
    """Stops are optimizer steps, passed in one walk; `steps` is the last one, or all to stop at.

    The function is called once, at the start, where it may take what it needs of the model as it was. The
    loss that it returns gets a batch of the forget set and one of `retain` (None without such examples), both
    shuffled with `seed`. The numbers given here are the method's defaults; a caller may give others.
    """
    settings = {"lr": lr, "steps": steps, "optimizer": optimizer}
    settings |= {"batch_size": batch_size, "loss_on": loss_on, "seed": seed}

    def decorate(function: Callable) -> Callable:
        def walk(inputs: Inputs, _stops: Stops, **options) -> Iterator[dict]:
            own = {k: v for k, v in options.items() if k not in settings}
            return _descend(inputs, function(inputs, **own), **{k: options[k] for k in settings})

        register(function, walk, settings, stops=(), needs=needs, **said)
        return function

    return decorate


def _descend(
    inputs: Inputs, loss: "Loss", *, lr, steps, optimizer, batch_size, loss_on, seed
) -> Iterator[dict]:
    """Bring the loss down; yields the step and the loss before it. `.grad` is left empty."""
    import torch

    from unlearnkit.unlearning.originals import require_finite_weights

    stops = sorted({steps} if isinstance(steps, int) else set(steps))
    optimizers = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    if not stops or stops[0] < 1 or optimizer not in optimizers:
        raise MethodError(
            f"steps count from 1 and optimizer is adamw or sgd, not {steps!r} and {optimizer!r}"
        )
    inputs.require_whole()
    moving = list(inputs.touched.values())
    descent = optimizers[optimizer](moving, lr=lr, weight_decay=0.0)
    descent.zero_grad()
    rows = [_batches(inputs, part, batch_size, loss_on, seed) for part in (inputs.forget, inputs.retain)]
    for step, batches in enumerate(zip(*rows, strict=True), start=1):
        with torch.enable_grad():
            value = loss(*batches)
            if not value.isfinite():
                raise DivergenceError(
                    f"{inputs.method!r} has a loss of {value.item()} at step {step}; use a smaller lr"
                )
            value.backward(inputs=moving)
        descent.step()
        descent.zero_grad()
        if step in stops:
            require_finite_weights(inputs.touched, f"step {step}")
            yield {"step": step, "loss": value.item()}
        if step == stops[-1]:
            return


def _batches(
    inputs: Inputs, examples: "Sequence[Example] | None", batch_size: int, loss_on: str, seed: int
) -> "Iterator[Batch | None]":
    """Batches without end, each pass in another order; None without end where there are no examples."""
    import torch

    from unlearnkit.batching import batches

    if not examples:
        yield from repeat(None)
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(examples), generator=generator).tolist()
        yield from batches(inputs.tokenizer, [examples[i] for i in order], batch_size, loss_on)
