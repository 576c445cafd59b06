"""Which methods the command `forget` offers, and what each must be given. Imports no torch."""

from numbers import Integral
from typing import Any

from unlearnkit.errors import ConfigError, MethodError, unknown
from unlearnkit.unlearning import METHODS, Method

KEPT = {"ledger": "--ledger DIR", "checkpoints": "--history DIR"}  # what a training leaves, if asked to
FILLED = ("until", "known", "fresh")  # options that the command fills in


def by_need() -> dict[str, list[str]]:
    """Names of the methods, controls apart, by the option of the command that they need: "" is none."""
    found: dict[str, list[str]] = {"": [], **{option: [] for option in KEPT.values()}}
    for method in METHODS.values():
        if method.family != "control" and not _unfit(method):
            found[next((KEPT[need] for need in method.needs if need in KEPT), "")].append(method.name)
    return found


def after_a_purge() -> list[str]:
    """Names of those that go by a ledger without second moments."""
    return [name for name in by_need()[KEPT["ledger"]] if "moments" not in METHODS[name].reads]


def listed() -> str:
    """All of them in words, for `forget --help`."""
    heads = {"": "need nothing of the training"} | {option: f"need {option}" for option in KEPT.values()}
    lines = [f"methods that {heads[option]}: {', '.join(names)}" for option, names in by_need().items()]
    return "; ".join([*lines, "with --train the ledger and the history are kept for as long as it takes"])


def require(name: str, ledger: str, history: str, train: bool) -> Method:
    """The method of that name. MethodError or ConfigError where it is not offered, or lacks what it needs."""
    if name not in METHODS:
        raise MethodError(unknown("method", name, METHODS))
    method, given = METHODS[name], {"ledger": ledger, "checkpoints": history}
    if why := _unfit(method):
        raise MethodError(f"method {name!r} {why}")
    if train and any(given.values()):
        raise ConfigError(
            "--train makes a ledger and a history of its own: leave it, or --ledger and --history"
        )
    if lacking := [n for n in method.needs if n in KEPT and not (given[n] or train)]:
        what, others = KEPT[lacking[0]], ", ".join(sorted(by_need()[""]))
        raise MethodError(
            f"method {name!r} needs {what}, kept by the training that taught it the facts; else "
            f"give a --method that needs none ({others}), or --train, which teaches the model first"
        )
    return method


def require_way(method: Method, options: dict[str, Any], optimizer: str, epochs: int) -> None:
    """MethodError where a method does not follow a training's optimizer, or goes by an epoch not in it."""
    if method.follows and optimizer != method.follows:
        raise MethodError(
            f"method {method.name!r} follows the steps of {method.follows}, and the training's were "
            f"{optimizer}'s: give another --method"
        )
    for name, value in {**method.options, **options}.items():
        if name != "epoch" and (method.options[name] != "all" or value == "all"):
            continue
        asked = [value] if isinstance(value, Integral) else value
        if beyond := [epoch for epoch in asked if epoch > epochs]:
            raise MethodError(
                f"method {method.name!r}: {name}={value!r}, and epoch {beyond[0]} is none of "
                f"the training's {epochs}"
            )
        if "checkpoints" in method.needs and value == epochs:  # it goes on from there
            raise MethodError(
                f"method {method.name!r}: {name}={value!r}, and after the training's {epochs} epochs nothing "
                f"is left of it: give -p {name}=..., from 0 and below {epochs}"
            )


def _unfit(method: Method) -> str:
    """Why a folder with a model cannot hold a method's result; "" where it can."""
    if not method.moves:
        return "moves no weight: a folder with a model cannot hold its result"
    if method.installs:
        return (
            "puts something beside the weights, and a folder with a model would hold these alone: use "
            "unlearning.apply in Python, and keep the model in memory"
        )
    return ""
