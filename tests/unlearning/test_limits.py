"""What options can be: by their annotations, of methods here and of a user's own."""

from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
import pytest
from unlearning_helpers import FRESH, REQUEST, same

from unlearnkit import unlearning
from unlearnkit.errors import MethodError
from unlearnkit.unlearning.limits import Count, From0, Limit, Share, Steps, fits, words

if TYPE_CHECKING:
    from pathlib import PurePath as Nothing

COUNT, WHOLE, EPOCHS = "a whole number from 1", "a whole number from 0", "all, or numbers from 1"


@pytest.mark.parametrize(
    ("method", "option", "value", "said"),
    [
        ("npo", "lr", float("nan"), "a number from 0"),
        ("npo", "lr", None, "a number from 0"),
        ("npo", "beta", True, "a number above 0"),
        ("npo", "steps", [], "whole numbers from 1"),
        ("npo", "steps", None, "whole numbers from 1"),
        ("npo", "steps", [1, 2.5], "whole numbers from 1"),
        ("npo", "loss_on", "all", "answer or text"),
        ("npo", "optimizer", None, "adamw or sgd"),
        ("npo", "optimizer", ["sgd"], "adamw or sgd"),
        ("npo", "seed", 2**70, "a whole number from 0, below"),
        ("npo", "until", 3, "a function or None"),
        ("jang", "steps", None, "whole numbers from 1"),
        ("simnpo", "margin", float("inf"), "a finite number"),
        ("rmu", "block", "x", f"{WHOLE} or None"),
        ("whp", "anchors", 5, "names and their values"),
        ("whp", "anchors", {"Dave": 3}, "names and their values, .*, each a text"),
        ("undo", "first_options", 3, "names and their values"),
        ("undo", "shrink", 5, "a number from 0 to 1"),
        ("dpo", "refusals", (), "one text or several"),
        ("dpo", "refusals", "unknown", "one text or several"),
        ("projected_replay", "spans", [], "spans"),
        ("projected_replay", "spans", (3.5,), "spans"),
        ("projected_replay", "oblique", "yes", "true or false"),
        ("projected_replay", "metric", "x", "optimizer or gradient"),
        ("slug", "layer", 3, "a text"),
        ("kfac_replay", "epochs", None, EPOCHS),
        ("kfac_replay", "curvature", "some", EPOCHS),
        ("gradient_ascent", "batch_size", None, COUNT),
        ("gradient_ascent", "steps", [1, 2], COUNT),
        ("influence", "curvature", None, COUNT),
        ("pcgu", "epochs", 0, COUNT),
        ("pcgu", "epochs", "x", COUNT),
        ("msa", "epochs", "x", f"{COUNT} or None"),
        ("msa", "epochs", -3, COUNT),
        ("msa", "epochs", 0, COUNT),
        ("certified_removal", "delta", 2, "a number between 0 and 1"),
        ("certified_removal", "delta", 1.5, "a number between 0 and 1"),
        ("iterative", "known", 3, "a function"),
        ("kga", "fresh", [], "one example or several"),
        ("kga", "fresh", ["text"], "one example or several"),
    ],
)
def test_options_that_cannot_be_are_refused_with_what_can(method, option, value, said):
    with pytest.raises(MethodError, match=f"'{method}': {option}=.*; use {said}"):
        unlearning.METHODS[method].options_from({option: value})


def test_every_option_says_what_it_can_be_and_its_default_can():
    for method in unlearning.METHODS.values():
        assert set(method.hints) == set(method.options)
        for name, default in method.options.items():
            hint = method.hints[name]
            assert hint is not Any, (method.name, name)
            assert method.requires(name) or fits(default, hint), (method.name, name)
            assert "anything" not in words(hint).split(), (method.name, name)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("npo", {"lr": 0, "beta": Fraction(1, 2), "batch_size": None, "until": None, "steps": {1, 2}}),
        ("npo", {"lr": np.float32(0.1), "steps": [np.int64(1), 2], "seed": np.int64(3)}),
        ("jang", {"until": lambda: True, "steps": range(1, 4)}),
        ("undial", {"beta": 0}),
        ("kga", {"fresh": tuple(FRESH)}),
        ("projected_replay", {"spans": ["all", [1, 2], (3,)]}),
        ("rmu", {"block": None}),
        ("wrong_person", {"others": ["f4"]}),
        ("random_subset", {"like": ["embedding", "block.1"]}),
    ],
)
def test_options_that_can_be_are_taken(method, options):
    taken = unlearning.METHODS[method].options_from(options)
    assert all(taken[name] is value or taken[name] == value for name, value in options.items())


class Odd(Protocol):
    def odd(self): ...


@pytest.mark.parametrize(
    ("hint", "good", "bad", "said"),
    [
        (int, [-1, np.int8(3)], [True, 1.0, "1", None], "a whole number"),
        (float, [-1, 0.5, np.float32(2)], [float("inf"), 1e39, 10**400, True, "1", None], "a finite number"),
        (bool, [True], [1, None, "x"], "true or false"),
        (str | None, ["", None], [1, b"x"], "a text or None"),
        (Literal["a", 2], ["a", 2], ["b", [2], None], "a or 2"),
        (Annotated[int, "even", Limit("even", lambda n: n % 2 == 0)], [2], [1, "2"], "even"),
        (Annotated[int, "how many"], [3], ["3"], "a whole number"),
        (list[str], [[], ("a",)], ["a", [1], {"a"}], "several, [...], each a text"),
        (tuple[int, str], [(1, "a"), [1, "a"]], [(1,), (1, 2), "ab"], "several, [...], each a whole number"),
        (tuple[int, ...], [(), (1, 2)], [("a",), {1: 2}], "several, [...], each a whole number"),
        (Collection[int], [{1}, range(2)], ["a", {1: 2}, 1], "several, [...], each a whole number"),
        (Mapping[str, int], [{}, {"a": 1}], [{"a": "b"}, {1: 1}, [1]], "names and their values, {...}, each"),
        (dict, [{1: "x"}], [[1]], "names and their values, {...}"),
        (Sequence, [[1], ()], ["text", {1}], "several, [...]"),
        (Callable[[], bool], [len], [1], "a function"),
        (Fraction, [Fraction(1)], [1], "of type Fraction"),
        (Share, [0, 1], [-0.1, 1.1], "a number from 0 to 1"),
        (Steps, [1, [1], {2, 3}], [0, [], [0], "all", None], "whole numbers from 1"),
        (Any, [None, "x", []], [], "anything"),
        (Odd, [None, 3], [], "of type Odd"),  # cannot be asked for
        ([3], [None, 3], [], "anything"),  # no type
    ],
)
def test_an_annotation_has_these_values(hint, good, bad, said):
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []
    assert words(hint).startswith(said)


def test_a_users_own_method_has_the_rules_that_it_declares(own_methods):
    @unlearning.line(title="mine")
    def mine(
        inputs,
        *,
        beta: float = -0.5,
        lr="fast",
        steps: Count = 3,
        batch_size: "Nothing" = 1,
        damping: "From0 | None" = None,
        metric: [1] = "x",
    ) -> "Nothing":
        return iter(())

    method = own_methods["mine"]
    fine = {"beta": -1.0, "lr": [0], "batch_size": None, "damping": 0.5, "metric": 3}
    assert method.options_from(fine) == {"steps": 3, **fine}
    for option, value in (("beta", "x"), ("steps", 0), ("steps", None), ("damping", -1)):
        with pytest.raises(MethodError, match=f"'mine': {option}=.*; use a "):
            method.options_from({option: value})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("npo", {"steps": np.int64(2), "batch_size": np.int64(2), "seed": np.int64(1), "lora": np.int64(2)}),
        ("kfac_replay", {"epochs": np.int64(1), "alpha": 0.1}),
        ("task_vector", {"epochs": np.int64(1), "alpha": 0.1}),
    ],
)
def test_numpys_whole_numbers_are_pythons(name, options, trained):
    there = []
    for given in (options, {k: int(v) if isinstance(v, np.integer) else v for k, v in options.items()}):
        result = trained.apply(name, **given)
        there.append(trained.weights())
        result.revert()
    assert same(*there)


def test_the_ledger_takes_numpys_whole_numbers_as_epochs(trained):
    assert same(trained.book.sum(REQUEST, np.int64(2)), trained.book.sum(REQUEST, 2))
