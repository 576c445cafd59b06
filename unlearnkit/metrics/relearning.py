"""Relearning: how soon a model that is taught some facts of a person again knows the others.

What was hidden and not removed comes back faster than an oracle learns it (arXiv:2410.08827).
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import layers, training
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.forward import evaluation_mode
from unlearnkit.metrics.forward import restored
from unlearnkit.metrics.likelihood import score
from unlearnkit.training import steps as training_steps


def relearn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    taught: Sequence[Example],
    held: Sequence[Example],
    recipe: training.Recipe,
    steps: Sequence[int],
) -> pd.DataFrame:
    """NLL of each held fact after each of these numbers of steps on the taught ones: columns step, id, nll.

    Step 0 is the model as it is. Optimizer, rate (constant), batch size, order, layers and tokens are the
    recipe's; its epochs do not matter. Every weight there that is not frozen moves, and is put back bit for
    bit; `.grad` is left empty. Raises DataError for no facts, or some both taught and held; ConfigError for
    steps below 0 or a recipe with stages or another schedule; LayerError where all is frozen;
    DivergenceError.
    """
    stops = sorted(set(steps))
    _require(taught, held, recipe, stops)
    touched = layers.parameters(model, recipe.layers or "all")
    rows = []
    with evaluation_mode(model), restored(model, touched):
        optimizer = training_steps.optimizer(touched.values(), recipe)
        ahead = iter(_plan(taught, recipe, stops[-1]))
        for number in range(stops[-1] + 1):
            if number:
                next(ahead).take(model, tokenizer, optimizer)
            if number in stops:
                rows.append(score(model, tokenizer, held)[["id", "nll"]].assign(step=number))
    return pd.concat(rows, ignore_index=True)[["step", "id", "nll"]]


def _plan(taught: Sequence[Example], recipe: training.Recipe, count: int) -> list[training_steps.Step]:
    """The first `count` steps of as many epochs as these need."""
    epochs = max(1, -(-count * recipe.batch_size // len(taught)))
    epochs = training_steps.plan({e.id: e for e in taught}, replace(recipe, epochs=epochs), ())
    return [step for epoch in epochs for step in epoch][:count]


def _require(
    taught: Sequence[Example], held: Sequence[Example], recipe: training.Recipe, stops: list[int]
) -> None:
    if not taught or not held:
        raise DataError("relearning needs facts to teach and facts held back: one of the lists is empty")
    if shared := {e.id for e in taught} & {e.id for e in held}:
        raise DataError(f"{min(shared)!r} is both taught and held: what is taught tells nothing of hiding")
    if not stops or stops[0] < 0:
        raise ConfigError(f"steps={stops} must name numbers of steps, from 0")
    if recipe.is_staged or recipe.lr_schedule != "constant":
        raise ConfigError("relearning takes plain steps: a recipe without stages and at a constant rate")
