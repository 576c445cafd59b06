"""What is tried of each method when it is tuned, and what was chosen: `claims.methods` has the rule.

Learning rates are told as multiples (`rate`) of the rate at which the model learned the facts, so that a
choice means something on another model, too. Imports no torch.
"""

import json
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from unlearnkit.claims.methods import BEYOND, TRIALS
from unlearnkit.study import config
from unlearnkit.unlearning import METHODS

FOLDER = Path(__file__).parent / "tuned"  # a file a family of models: every trial, and what came of it
FALLBACK = "gpt2-tiny"  # whose choices a model takes that was not tuned
RATES = (1 / 16, 1 / 4, 1.0)
MORE_RATES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
EPOCHS = ("all", [1])


def _grid(**values: Iterable) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


# Two values of a method's own beside three rates, or what it has instead of a rate. Their authors' defaults
# are among them, or lie between two.
SPACES: dict[str, list[dict[str, Any]]] = {
    "adam_replay": _grid(epochs=("all", [1], [2], [1, 2], [3], [1, 2, 3])),
    "kfac_replay": _grid(epochs=EPOCHS, damping=(0.01, 0.1, 1.0)),
    "projected_replay": _grid(metric=("optimizer", "gradient"), oblique=(False, True), ridge=(1e-3,))
    + _grid(metric=("optimizer",), oblique=(False, True), ridge=(0.1,)),
    "repselect": _grid(epochs=EPOCHS, components=(4, 16, 64)),
    "single_epoch": _grid(epoch=(1, 2, 3, 4, 5, 6)),
    "gradient_ascent": _grid(loss_on=("answer", "text")),
    "grad_diff": _grid(rate=RATES, alpha_retain=(1.0, 5.0)),
    "jang": _grid(rate=MORE_RATES),
    "kl_min": _grid(rate=RATES, alpha_retain=(1.0, 5.0)),
    "wga": _grid(rate=RATES, alpha_retain=(1.0, 5.0)),
    "dpo": _grid(rate=RATES, beta=(0.1, 0.5)),
    "npo": _grid(rate=RATES, beta=(0.1, 0.5)),
    "simnpo": _grid(rate=RATES, beta=(2.5, 4.5)),
    "eul": _grid(rate=(0.5, 2.0, 8.0), gamma=(0.2, 1.0)),  # adapters bear larger rates
    "kga": _grid(rate=RATES, alpha_retain=(0.3, 1.0)),
    "rkld": _grid(rate=RATES, penalty=(1.0, 5.0)),
    "undial": _grid(rate=RATES, beta=(3.0, 10.0)),
    "undo": _grid(rate=RATES, shrink=(0.05, 0.2)),
    "whp": _grid(rate=RATES, penalty=(1.0, 5.0)),
    "rmu": _grid(rate=RATES, steering=(5.0, 20.0)),
    "quark": _grid(rate=RATES, beta=(0.05, 0.2)),
    "lora_negation": _grid(rate=(0.5, 2.0, 8.0), rank=(4, 8)),
    "msa": _grid(epoch=(0, 1, 2), b=(0.0, 0.5)),
    "pcgu": _grid(rate=(1.0, 10.0, 100.0), k=(1_000, 10_000)),  # of plain steps, not an optimizer's
    "pem": _grid(rate=(1.0, 4.0, 16.0), epochs=(5, 10)),
    "task_vector": _grid(rate=(1 / 8, 1 / 2, 1.0), epochs=(2, 5)),
    "certified_removal": _grid(lam=(0.01, 0.1, 1.0), sigma=(0.01, 0.1)),
    "finetune_retain": _grid(rate=MORE_RATES),
    "influence": _grid(damping=(0.01, 0.1, 1.0), iterations=(10, 20)),
    "rewind": _grid(epoch=(1, 2, 3, 4, 5, 6)),
    "in_context": _grid(false=(2, 4), true=(0, 2, 4)),
}
# Not compared: identities rather than methods, and one that follows plain SGD.
LEFT_OUT = ("noop", "hf_ocu", "first_epoch_times_E", "random_subset")
# Trained methods whose first step, at the rates that forget at all, goes past matched forgetting: the line to
# it is looked at as well, lest a price be read that no model has.
DIVIDED = ("simnpo", "kga", "undial", "rmu", "quark", "finetune_retain")
REPAIRED = ("undo",)  # what its first step breaks the rest mends: there is one place to read it, the end


def names() -> list[str]:
    """The methods that are compared, in tables' order."""
    return [name for name in METHODS if name not in LEFT_OUT]


def space(name: str) -> list[dict[str, Any]]:
    """What is tried of a method: a few settings of its options, one without any where it has nothing to tune.

    No more than the budget that all methods have.
    """
    found = SPACES.get(name, [{}])
    if len(found) > TRIALS:
        raise ValueError(f"method {name!r} has {len(found)} trials, more than the {TRIALS} of all others")
    return found


def options(name: str, told: dict[str, Any], recipe: dict) -> dict[str, Any]:
    """A method's options of a trial, with rates in the units of the optimizer.

    A model that is taught something on the way (`taught_lr`) learns as the fine-tuning did.
    """
    known = METHODS[name].options
    found = {k: v for k, v in told.items() if k != "rate"}
    if "rate" in told:
        found["lr"] = told["rate"] * recipe["lr"]
    if "taught_lr" in known:
        found["taught_lr"] = recipe["lr"]
    if name == "undo":  # the method that it begins with, at the middle of the rates that this one is tried at
        found["first_options"] = {"lr": RATES[1] * recipe["lr"]}
    return found


@cache
def tried(family: str) -> pd.DataFrame:
    """Every trial of a family of models: method, trial (its options, in JSON), seed, price, closest, seconds.

    No rows where the family was not tuned.
    """
    path = FOLDER / f"{family}.csv"
    columns = ["method", "trial", "seed", "price", "reached", "closest", "seconds"]
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=columns)


def best(trials: pd.DataFrame) -> pd.Series:
    """By method, the trial that the rule chooses: cheapest on the mean, of equals the closest to the oracles.

    The first of those that are equal in both.
    """
    means = trials.groupby(["method", "trial"], sort=False)[["price", "closest"]].mean().reset_index()
    ordered = means.sort_values(["price", "closest"], kind="stable")
    return ordered.drop_duplicates("method").set_index("method")["trial"]


def beyond(name: str, trials: pd.DataFrame) -> dict[str, Any] | None:
    """What is to be tried further of a method after these trials of its own: a rate beyond the best's.

    As far again as the last two rates lie apart, in ratio. None where it has no rate, where the best lies
    within those tried beside the same other options, and where there have been `BEYOND` more.
    """
    every = [json.loads(told) for told in trials["trial"].unique()]
    chosen = json.loads(best(trials)[name])
    if "rate" not in chosen or len(every) >= len(space(name)) + BEYOND:
        return None
    rates = sorted(told["rate"] for told in every if told | {"rate": 0} == chosen | {"rate": 0})
    for end, before in (rates[-1], rates[-2]), (rates[0], rates[1]):
        if chosen["rate"] == end:
            return chosen | {"rate": end * end / before}
    return None


@cache
def _best(family: str) -> dict[str, str]:
    """`best` of a family's trials, which a plan asks for at each of its cells."""
    return best(tried(family)).to_dict()


def reread() -> None:
    """Read the files of trials anew."""
    tried.cache_clear()
    _best.cache_clear()


def chosen(family: str, name: str, recipe: dict) -> dict[str, Any]:
    """The tuned options of a method on a family of models; those of FALLBACK where it was not tuned there.

    The method's own defaults, and the middle of the rates, where nobody has tuned it.
    """
    for known in (family, FALLBACK):
        if name in _best(known):
            return options(name, json.loads(_best(known)[name]), recipe)
    return options(name, {"rate": RATES[1]} if "rate" in space(name)[0] else {}, recipe)


def path_steps(
    name: str,
    back: tuple[float, ...] = config.COMPARED_STEPS,
    fresh: tuple[float, ...] = config.COMPARED_FRESH_STEPS,
    trained: tuple[float, ...] = config.COMPARED_TRAINED_STEPS,
) -> tuple[float, ...]:
    """Where a method's path is looked at: lengths, optimizer steps, or its one place.

    `back` is for one that can go back, `fresh` for one that cannot, `trained` for one that takes steps.
    """
    method = METHODS[name]
    if method.goes_back:
        return back
    if method.stops:
        return fresh
    if name in REPAIRED:
        return trained[-1:]
    return trained if "steps" in method.options else (1,)
