"""Recipes: order, rates, what they freeze, and what they refuse."""

import dataclasses
import json
import re

import pytest
import torch
from worlds import FACTS, IDS
from worlds import TWO_EPOCHS as RECIPE

from unlearnkit import ledger, training
from unlearnkit.errors import ConfigError
from unlearnkit.training import Recipe


@pytest.mark.parametrize("exclude", [[], IDS[2:3], IDS[:5], IDS[1:]])
def test_excluded_examples_leave_everybody_else_in_place(exclude):
    recipe = Recipe(epochs=4, batch_size=2)
    whole, kept = training.schedule(IDS, recipe), training.schedule(IDS, recipe, exclude)
    for before, after in zip(whole, kept, strict=True):
        assert sorted(i for step in before for i in step) == sorted(IDS)
        assert [len(step) for step in before] == [2, 2, 2, 1]
        assert after == [tuple(i for i in step if i not in exclude) for step in before]
    assert len({str(epoch) for epoch in whole}) == 4  # every epoch has its own order


def test_every_seed_that_is_allowed_draws_an_order():
    for seed in (0, 2**62, 2**63 - 1):
        assert sorted(sum(training.schedule(IDS, Recipe(seed=seed, epochs=1))[0], ())) == sorted(IDS)


def test_linear_rate_rises_then_falls_to_zero():
    recipe = Recipe(lr=2.0, lr_schedule="linear")
    rates = [recipe.rate(k, 100) for k in range(100)]
    assert rates.index(max(rates)) == 6
    assert rates[0] == pytest.approx(2.0 / 7)
    assert rates[50] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(0.02)
    assert [Recipe(lr=2.0).rate(k, 100) for k in (0, 50, 99)] == [2.0] * 3


def test_a_recipe_freezes_parameters(tiny_model, tiny_tokenizer, tmp_path):
    """They stay, bit for bit; the ledger holds the others, and undoes them; a finished run is loaded."""
    recipe = dataclasses.replace(RECIPE, frozen=("*.ln_?.*", "transformer.h.1.mlp.c_proj.weight"))
    kept = {"ledger": tmp_path / "l", "ledger_dtype": "float32", "progress": False}
    model, again, start = tiny_model(), tiny_model(), dict(tiny_model().named_parameters())
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, **kept)
    end = dict(model.named_parameters())
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    total = book.sum(book.example_ids, "all")
    held = {n for n in start if ".ln_" in n} | {"transformer.h.1.mlp.c_proj.weight"}
    assert held == set(start) - set(total)
    assert all(torch.equal(start[n], end[n]) for n in held)
    for name, gradient in total.items():
        moved = start[name] - end[name]
        assert (moved - recipe.lr * gradient).norm() <= 1e-4 * moved.norm() + 1e-7, name
    training.fine_tune(
        again, tiny_tokenizer, FACTS, recipe, **kept, on_epoch=lambda *_: pytest.fail("trained")
    )
    assert all(torch.equal(p, end[n]) for n, p in again.named_parameters())


def test_a_recipe_that_freezes_nothing_names_the_pattern(train):
    with pytest.raises(
        ConfigError, match=r"Recipe.frozen: '\*.norm.\*' names no parameter of GPT2LMHeadModel"
    ):
        train(dataclasses.replace(RECIPE, frozen=("*.norm.*",)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer", "adam"),
        ("optimizer", None),
        ("loss_on", "prompt"),
        ("lr", 0.0),
        ("lr", -1e-3),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", 1e39),  # beyond float32
        ("lr", "1e-3"),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", "3"),
        ("batch_size", 0),
        ("batch_size", 8.0),
        ("accumulate", -1),
        ("seed", 0.5),
        ("frozen", "*norm*"),
    ],
)
def test_bad_recipes_name_the_field(field, value):
    with pytest.raises(ConfigError, match=re.escape(f"Recipe.{field}={value!r}: use ")):
        Recipe(**{field: value})


def test_the_recipe_survives_the_index(train, tmp_path):
    train(ledger=tmp_path / "l", exclude=["f1"])
    recipe = ledger.GradientLedger.open(tmp_path / "l").recipe
    assert json.loads(json.dumps(recipe)) == recipe
    assert Recipe(**{k: v for k, v in recipe.items() if k not in ("exclude", "data")}) == RECIPE
    assert recipe["exclude"] == ["f1"]
