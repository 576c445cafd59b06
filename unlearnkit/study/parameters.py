"""What a user may say with `name=value`: how it is read, and which values are refused."""

import ast
import math
import re
from collections.abc import Callable
from typing import Any

from unlearnkit.devices import DEVICES
from unlearnkit.errors import ConfigError, unknown
from unlearnkit.study.config import (
    MOST_EPOCHS,
    MOST_SEEDS,
    NO_COMPANION,
    NO_COMPARISON,
    NO_VARIANT,
    NO_VERIFICATION,
    OPTIMIZERS,
    WORDS,
)

NEXT = re.compile(r"\s+(?=[A-Za-z_]\w*=)")  # where another `name=value` begins
LAYER = re.compile(
    r"all|embedding(\.(in|out)put)?|position|block\.\d+|(first|last)2|norm\.final|norms|all-but-embedding"
)


def split(text: str) -> list[str]:
    """The assignments in a text such as "forget=Ada Example lr=1e-4": values may hold spaces and quotes."""
    return [part for part in NEXT.split(text.strip()) if part]


def parse_overrides(known: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """The values in `name=value` texts, each of its default's type. ConfigError for anything else."""
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"parameter {assignment!r} is not of the form name=value")
        if name not in known:
            raise ConfigError(unknown("parameter", name, sorted(known)))
        values[name] = parse_value(name, text, known[name])
    return values


def parse_value(name: str, text: str, default: Any) -> Any:
    """The value of `name=text`, of the type of the parameter's default; any type where that is None."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that it raises
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value) if abs(value) < 2**53 else math.inf  # no OverflowError
    if default is not None and type(value) is not type(default):
        raise ConfigError(
            f"parameter {name}: {text!r} is not of type {type(default).__name__}; the default is {default!r}"
        )
    return value


def require_allowed(values: dict[str, Any]) -> None:
    """ConfigError for a value that its parameter cannot have; parameters without a rule take any."""
    for name, value in values.items():
        if name in RULES:
            is_fine, words = RULES[name]
            if not is_fine(value):
                raise ConfigError(f"parameter {name}={value!r}: use {words}")


Rule = tuple[Callable[[Any], bool], str]


def _whole(low: int, high: float = math.inf) -> Rule:
    words = f"a whole number from {low}" + (f" to {high}" if high < math.inf else "")
    return lambda value: type(value) is int and low <= value <= high, words


def _number(words: str, is_fine: Callable[[float], bool]) -> Rule:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and is_fine(value), words


def _optional(rule: Rule) -> Rule:
    is_fine, words = rule
    return lambda value: value is None or is_fine(value), words


def _all_layers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and LAYER.fullmatch(v) for v in value)


_SEEDS = ("seeds", "seeds_adamw", "seeds_sgd", *NO_COMPANION, *NO_VARIANT, *NO_COMPARISON, *WORDS)
_SEEDS += (*NO_VERIFICATION,)
RULES: dict[str, Rule] = {
    **dict.fromkeys(_SEEDS, _whole(0, MOST_SEEDS)),
    "whole_map": (lambda value: type(value) is bool, "true or false"),
    "lr": _optional(_number("a positive number, such as 5e-5", lambda value: 0 < value < 1e30)),
    # One epoch is the first and all of them: there would be nothing to compare.
    "epochs": _optional(_whole(2, MOST_EPOCHS)),
    "batch_size": _optional(_whole(1)),
    "lora": _optional(_whole(0, 1024)),
    "device": (lambda value: value in DEVICES, " or ".join(DEVICES)),
    "seed": _optional(_whole(0, 2**63 - 1)),
    "optimizer": _optional((lambda value: value in OPTIMIZERS, " or ".join(OPTIMIZERS))),
    "damage": _number("a positive number of nats", lambda value: value > 0),
    "margin": _number("a number from 0", lambda value: value >= 0),
    "shown": _whole(1),
    "layers": (_all_layers, 'a list of layer names, such as ["all", "embedding", "last2"]'),
}
