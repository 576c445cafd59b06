"""Decorators that make a method of less than a generator, and register it.

line     function(inputs, *, options) -> direction, streamed: (parameter name, tensor) pairs
trained  function(inputs, *, options) -> loss(forget, retain), to be brought down by an optimizer
wrapped  function(inputs, *, options) -> uninstall(), after it installed something; no weight moves
free     a generator of its own: function(inputs, stops, *, options)

Each takes what `frame.Method` says of a method: title, family, source, needs, reads, version and more. What
an option can be is its annotation (`limits`). The decorated function stays as it was written. Imports no
torch until a method runs.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Literal

from unlearnkit.unlearning.frame import register
from unlearnkit.unlearning.inputs import Inputs, Stops
from unlearnkit.unlearning.limits import Count, From0, LossOn, Seed, Steps, Whole, hints_of


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
            from unlearnkit.progress import shown
            from unlearnkit.unlearning.originals import Stored, add

            direction = function(inputs, **options)
            if isinstance(direction, Iterator):
                direction = shown(direction, inputs.method, len(inputs.touched))
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

        register(function, walk, stops=(), moves=False, installs=True, **said)
        return function

    return decorate


def trained(
    *,
    lr: From0,
    steps: Steps,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    batch_size: Count | None = 8,
    loss_on: LossOn = "answer",
    seed: Seed = 0,
    lora: Whole = 0,
    until: Callable[[], bool] | None = None,
    needs: tuple[str, ...] = ("examples", "tokenizer"),
    **said,
) -> Callable[[Callable], Callable]:
    """Stops are optimizer steps, passed in one walk; `steps` is the last one, or all to stop at.

    The function is called once, at the start, where it may take what it needs of the model as it was. The
    loss that it returns gets a batch of the forget set and one of `retain` (None without such examples), both
    shuffled with `seed`. The numbers given here are the method's defaults; a caller may give others of these
    kinds. See `descent.Descent` for what they mean; a function that names some of them as its own is told
    them.
    """
    settings = {"lr": lr, "steps": steps, "optimizer": optimizer, "batch_size": batch_size}
    settings |= {"loss_on": loss_on, "seed": seed, "lora": lora, "until": until}

    def decorate(function: Callable) -> Callable:
        told = inspect.signature(function).parameters

        def walk(inputs: Inputs, _stops: Stops, **options) -> Iterator[dict]:
            from unlearnkit.unlearning.descent import Descent

            descent = Descent(inputs, **{k: options[k] for k in settings})
            own = {k: v for k, v in options.items() if k in told}
            yield from descent.walk(function(inputs, **own))

        hints = {k: hint for k, hint in hints_of(trained).items() if k in settings}
        register(function, walk, settings, hints, stops=(), needs=needs, **said)
        return function

    return decorate
