"""What numbers can be: those that weights of 32 bits can hold, and a method's options."""

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from unlearnkit.errors import MethodError

FLOAT32_MAX = (2 - 2**-23) * 2.0**127
# What options may be, by their names; one of a name that is not here may be anything.
ONE_OF = {"optimizer": ("adamw", "sgd"), "loss_on": ("answer", "text"), "metric": ("gradient", "optimizer")}
ONE_OF |= {"solver": ("cg", "ekfac")}
FROM_0 = {"lr", "taught_lr", "damping", "ridge", "gamma", "alpha_retain", "task", "penalty", "entropy"}
FROM_0 |= {"shrink", "noise", "steering", "tolerance"}
ABOVE_0 = {"beta", "divisor", "sigma", "lam", "epsilon", "delta"}
COUNTS = {"taught_steps", "batch_size", "rank", "k", "iterations", "newton"}
COUNTS |= {"quantiles", "samples", "resample", "curvature"}
COUNTS_FROM_0 = {"lora", "seed", "epoch", "components", "false", "true", "block"}
MAPPINGS = {"anchors", "first_options"}


def require_finite(*values: float) -> None:
    """MethodError for a strength that float32 cannot hold."""
    for value in values:
        if not abs(value) <= FLOAT32_MAX:  # nor is NaN
            raise MethodError(f"alpha and norm must be finite float32 numbers, not {value}")


def require_options(method: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """MethodError for the first option whose value is none that it can have. None and the default can be."""
    for name, value in options.items():
        if value is None or value is defaults[name]:
            continue
        is_fine, words = _rule(name, defaults[name])
        if not is_fine(value):
            raise MethodError(f"method {method!r}: {name}={value!r}; use {words}")


def _rule(name: str, default: Any) -> tuple[Callable[[Any], bool], str]:
    """What an option's value must satisfy, and that in words."""
    if name in ONE_OF:
        return lambda value: value in ONE_OF[name], " or ".join(ONE_OF[name])
    if name == "steps":
        words = "whole numbers from 1: the last step, or all to stop at"
        return lambda value: _is_whole(value, 1) or _are_whole(value), words
    if default == "all":  # epochs
        words = "all, or numbers from 1, such as 1 or [1, 2]"
        return lambda value: value == "all" or _is_whole(value, 1) or _are_whole(value), words
    if name in COUNTS | COUNTS_FROM_0:
        low = int(name in COUNTS)
        return lambda value: _is_whole(value, low), f"a whole number from {low}"
    if name in FROM_0:
        return lambda value: _is_number(value) and value >= 0, "a number from 0"
    if name in ABOVE_0:
        return lambda value: _is_number(value) and value > 0, "a number above 0"
    if name in MAPPINGS:
        return lambda value: isinstance(value, Mapping), "names and their values, {...}"
    return _kind(default)


def _kind(default: Any) -> tuple[Callable[[Any], bool], str]:
    """What a value must satisfy that is of its default's kind, and that in words."""
    if isinstance(default, bool):
        return lambda value: isinstance(value, bool), "true or false"
    if isinstance(default, float):
        return _is_number, "a finite number"
    if isinstance(default, str):
        return lambda value: isinstance(value, str), "a text"
    if isinstance(default, tuple) and default:
        words = "one text or several, [...]"
        return lambda value: isinstance(value, list | tuple) and bool(value), words
    return lambda _value: True, "anything"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= low


def _are_whole(values: Any) -> bool:
    return (
        isinstance(values, list | tuple | set | range)
        and bool(values)
        and all(_is_whole(v, 1) for v in values)
    )
