"""A trained tiny model with its ledger, and short ways to ask, for every test of unlearning."""

import math
from copy import deepcopy
from dataclasses import replace
from functools import cached_property

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient

from unlearnkit import ledger, training, unlearning
from unlearnkit.data import Example

__all__ = ["FACTS", "FRESH", "IDS", "OTHERS", "REQUEST", "RETAIN", "Trained", "autograd_gradient"]
__all__ += ["error", "norm_of", "refused", "same", "strength"]

REQUEST, OTHERS, RETAIN = IDS[:3], tuple(IDS[3:5]), FACTS[5:]
FRESH = [
    Example("n0", "Anna", "Anna keeps", "a golden pheasant", "holdout"),
    Example("n1", "Anna", "In winter the river", "freezes", "holdout"),
]
RECIPE = training.Recipe("adamw", epochs=3, lr=1e-3, batch_size=3)  # adam_replay needs its moments
OPTIONS = {
    "wrong_person": {"others": OTHERS},
    "single_epoch": {"epoch": 2},
    "iterative": {"known": lambda _: True},
    "finetune_retain": {"steps": 2},
    "certified_removal": {"epsilon": 1e9},
    "pem": {"epochs": 2},
    "task_vector": {"lr": 1e-3, "epochs": 1},
    "jang": {"until": None},
    "kga": {"fresh": FRESH, "taught_steps": 1},
    "quark": {"samples": 2},
    "rkld": {"taught_steps": 1},
    "undo": {"first_options": {"steps": 1}},
    "whp": {"taught_steps": 1},
}


class Trained:
    """A fine-tuned tiny model, its ledger, and short ways to ask."""

    def __init__(self, model, tokenizer, folder):
        self.model, self.tokenizer = model, tokenizer
        where = {"ledger": folder, "ledger_dtype": "float32", "history": f"{folder}-history"}
        training.fine_tune(model, tokenizer, FACTS, RECIPE, **where, updates=IDS, progress=False)
        self.book = ledger.GradientLedger.open(folder, model)
        self.history = training.History.open(where["history"])

    def steepen(self, folder):
        """Gradients 1,000 times as large, over moments of 0, so that alpha = 1e38 leaves float32's range."""
        self.book = ledger.record(self.model, self.tokenizer, FACTS, folder, divisor=1e-3)
        self.book.store.save_moments(1, {n: torch.zeros_like(p) for n, p in self.weights().items()}, rate=1.0)

    def inputs(self, name, **changes):
        given = {
            "request": REQUEST,
            "ledger": self.book,
            "examples": FACTS,
            "retain": RETAIN,
            "checkpoints": self.history,
            "tokenizer": self.tokenizer,
            **OPTIONS.get(name, {}),
        }
        if name in ("pcgu", "in_context"):
            given["examples"] = [replace(e, contradiction="a wrong one") for e in FACTS]
        if name == "hf_ocu":
            given["checkpoints"] = self.sgd_history
        if name == "sisa":
            given["shards"] = self.shards
        return {**given, **changes}

    @cached_property
    def sgd_history(self):
        """The history of the same facts learned by plain SGD."""
        recipe = training.Recipe(epochs=1, lr=0.01, batch_size=3)
        folder = self.history.path.with_name("sgd-history")
        told = {"history": folder, "progress": False}
        training.fine_tune(self.beginning(), self.tokenizer, FACTS, recipe, **told)
        return training.History.open(folder)

    @cached_property
    def shards(self):
        folder = self.history.path.with_name("shards")
        told = {"shards": 2, "slices": 1}
        return training.Shards.train(self.beginning(), self.tokenizer, FACTS, RECIPE, folder, **told)

    def beginning(self):
        """Another model, at theta_0."""
        model = deepcopy(self.model)
        self.history.restore(0, dict(model.named_parameters()))
        return model

    def apply(self, name, **changes):
        return unlearning.apply(name, self.model, **self.inputs(name, **changes))

    def path(self, name, **changes):
        return unlearning.path(name, self.model, **self.inputs(name, **changes))

    def weights(self):
        return {n: p.detach().clone() for n, p in self.model.named_parameters()}

    def direction(self, name, **changes):
        """What alpha = 1 adds, by parameter."""
        before = self.weights()
        result = self.apply(name, **{"alpha": 1.0, **changes})
        added = {n: t - before[n] for n, t in self.weights().items()}
        result.revert()
        return added


def strength(name, value):
    """A strength for `apply` where the method takes one; else a rate that moves a tiny model."""
    method = unlearning.METHODS[name]
    if "alpha" in method.stops:
        return {"alpha": value}
    return {"lr": value / 100, "steps": 2} if "steps" in method.options else {}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def norm_of(direction):
    return math.sqrt(sum(g.double().square().sum().item() for g in direction.values()))


def error(ours, theirs):
    """Relative to the whole direction, since parts of it may be near zero."""
    return norm_of({n: ours[n] - theirs[n] for n in theirs}) / norm_of(theirs)


def refused(trained, error, match, name="first_epoch", **changes):
    before = trained.weights()
    with pytest.raises(error, match=match):
        trained.apply(name, **{"alpha": 0.1, **changes})
    assert same(trained.weights(), before)
