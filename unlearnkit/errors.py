"""Errors that users meet. Each message names the culprit and says what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UnlearnkitError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(UnlearnkitError):
    """An unknown profile, parameter, recipe or option."""


class DataError(UnlearnkitError):
    """Malformed or unusable examples or text."""


class ModelError(UnlearnkitError):
    """A model that is unknown, cannot be fetched, or cannot be used."""


class LayerError(UnlearnkitError):
    """A layer selection that is unknown or matches no parameter."""


class RequestError(UnlearnkitError):
    """A forget request that is empty or names unknown examples."""


class LedgerError(UnlearnkitError):
    """A ledger that is damaged, incomplete, or belongs to another model or recipe."""


class MethodError(UnlearnkitError):
    """An unknown unlearning method, or one called without an input that it needs."""


class BudgetError(MethodError):
    """A certificate that does not bear the request."""


class DivergenceError(UnlearnkitError):
    """Training or ascent produced a loss or weights that are not finite."""


class SignatureError(UnlearnkitError):
    """A key that cannot sign, or something signed that is not what was signed, or not by that key."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'NAME'?`, or nothing where no known name is like it."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """`unknown KIND 'NAME'`, the nearest known name, and all of them."""
    known = list(known)
    return f"unknown {kind} {name!r}{nearest(name, known)} (known: {', '.join(known) or 'none'})"
