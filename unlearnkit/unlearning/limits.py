"""What numbers can be: those that weights of 32 bits can hold, and a method's options.

An option says in its annotation what it can be: `lr: From0 = 1e-5`, `block: Whole | None = None`,
`metric: Literal["optimizer", "gradient"]`, `Annotated[int, Limit("an even number", ...)]`. One that says
nothing can be anything. None can be given where the annotation has it, and nowhere else.
"""

import inspect
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from unlearnkit.errors import MethodError

FLOAT32_MAX = (2 - 2**-23) * 2.0**127


@dataclass(frozen=True)
class Limit:
    """Of what `Annotated` a type with: which of its values can be, and all that is asked for in words."""

    words: str
    holds: Callable[[Any], bool]


def _has_some(value: Any) -> bool:
    return not isinstance(value, Sized) or len(value) > 0


From0 = Annotated[float, Limit("a number from 0", lambda value: value >= 0)]
Above0 = Annotated[float, Limit("a number above 0", lambda value: value > 0)]
Share = Annotated[float, Limit("a number from 0 to 1", lambda value: 0 <= value <= 1)]
Chance = Annotated[float, Limit("a number between 0 and 1", lambda value: 0 < value < 1)]
Whole = Annotated[int, Limit("a whole number from 0", lambda value: value >= 0)]
Count = Annotated[int, Limit("a whole number from 1", lambda value: value >= 1)]
Seed = Annotated[int, Limit("a whole number from 0, below 2**63", lambda value: 0 <= value < 2**63)]
LossOn = Literal["answer", "text"]
Steps = Annotated[
    Count | Collection[Count], Limit("whole numbers from 1: the last step, or all to stop at", _has_some)
]
Epochs = Annotated[
    Literal["all"] | Count | Collection[Count],
    Limit("all, or numbers from 1, such as 1 or [1, 2]", _has_some),
]
Texts = Annotated[Sequence[str], Limit("one text or several, [...]", _has_some)]
Spans = Annotated[Sequence[Epochs], Limit("spans, [...], each all or numbers from 1", _has_some)]

NUMBERS = {int: Integral, float: Real}
WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
WORDS |= {NoneType: "None", Callable: "a function"}


def require_finite(*values: float) -> None:
    """MethodError for a strength that float32 cannot hold."""
    for value in values:
        try:
            is_fine = abs(value) <= FLOAT32_MAX  # nor is NaN
        except TypeError:  # no number
            is_fine = False
        if not is_fine:
            raise MethodError(f"alpha and norm must be finite float32 numbers, not {value!r}")


def require_fits(what: str, value: Any, hint: Any) -> None:
    """MethodError for a value that an annotation excludes; `what` it is for."""
    if not fits(value, hint):
        raise MethodError(f"{what}={value!r}; use {words(hint)}")


def hints_of(function: Callable) -> dict[str, Any]:
    """What a function's parameters are annotated with; Any for what only type checkers can read."""
    module, found = getattr(inspect.unwrap(function), "__globals__", {}), {}
    for name, parameter in inspect.signature(function).parameters.items():
        told = Any if parameter.annotation is parameter.empty else parameter.annotation
        try:  # one by one: what one of them names may be imported for type checkers alone
            one = get_type_hints(SimpleNamespace(__annotations__={name: told}), module, include_extras=True)
        except (NameError, AttributeError, SyntaxError, TypeError):
            one = {name: Any}
        found |= one
    return found


def fits(value: Any, hint: Any) -> bool:
    """Whether an annotation has this value. NaN, inf and True are no numbers; a list does for a tuple."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        limits = [one for one in hint.__metadata__ if isinstance(one, Limit)]
        return fits(value, inner[0]) and all(limit.holds(value) for limit in limits)
    if kind in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if kind is Literal:
        return isinstance(value, Hashable) and value in inner
    if kind is Any or not isinstance(kind, type):
        return True
    if kind in NUMBERS:
        is_number = isinstance(value, NUMBERS[kind]) and not isinstance(value, bool)
        return is_number and (kind is int or abs(value) <= FLOAT32_MAX)
    return _is_a(value, kind) and _holds(value, kind, inner)


def words(hint: Any) -> str:
    """An annotation in words, after "use"."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        said = [one.words for one in hint.__metadata__ if isinstance(one, Limit)]
        return ", ".join(said) or words(inner[0])
    if kind in (Union, UnionType):
        return " or ".join(map(words, inner))
    if kind is Literal:
        return " or ".join(map(str, inner))
    if kind is Any or not isinstance(kind, type):
        return "anything"
    if kind in WORDS:
        return WORDS[kind]
    if issubclass(kind, Mapping):
        return "names and their values, {...}" + _each(inner[1:])
    if issubclass(kind, Collection):
        return "several, [...]" + _each(inner)
    return f"of type {kind.__name__}"


def _each(inner: tuple) -> str:
    return f", each {words(inner[0])}" if inner and inner[0] is not Any else ""


def _is_a(value: Any, kind: type) -> bool:
    """`isinstance`, but that texts are no lists of texts; True for a kind that cannot be asked for."""
    try:
        is_one = isinstance(value, Sequence if issubclass(kind, list | tuple) else kind)
    except TypeError:  # a protocol, or a typed dict
        return True
    several = issubclass(kind, Collection) and not issubclass(kind, str | bytes)
    return is_one and not (several and isinstance(value, str | bytes))


def _holds(value: Any, kind: type, inner: tuple) -> bool:
    """Whether what a mapping or collection holds is what its annotation says, if it says so."""
    if not inner or not issubclass(kind, Collection):
        return True
    if issubclass(kind, Mapping):
        return all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if issubclass(kind, tuple) and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return not isinstance(value, Mapping) and all(fits(one, inner[0]) for one in value)
