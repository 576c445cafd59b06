"""Training taken up again from where its history kept it, without some of its examples."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.data import Example, digest
from unlearnkit.errors import ConfigError, DataError, ModelError
from unlearnkit.progress import shown
from unlearnkit.training.history import History
from unlearnkit.training.recipe import Recipe
from unlearnkit.training.steps import Step, optimizer, plan


def rest(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    history: History,
    *,
    after: int,
    exclude: Collection[str],
    moving: Mapping[str, torch.nn.Parameter],
    moments: bool = True,
) -> int:
    """Bring `moving` to where it was after an epoch, then through the rest of its training without `exclude`.

    Batches, rates and (with `moments`) the optimizer's state are the recorded training's; from epoch 0 and
    with all weights moving that is `fine_tune(..., exclude=exclude)` bit for bit. Other weights stay as they
    are. Returns the number of steps taken. ConfigError for an epoch that is not kept, DataError for examples
    that are not that training's, ModelError for a model whose trainable weights are not, or a damaged file.
    """
    by_id = of_training(examples, history)
    require_epoch(history, after)
    require_trainable(model, history)
    steps = plan(by_id, history.recipe, [*history.exclude, *exclude])[after:]
    history.restore(after, moving)
    descent = optimizer(moving.values(), history.recipe)
    if moments and after:
        history.restore_optimizer(after, descent, moving)
    return take(model, tokenizer, steps, descent)


def take(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    steps: Sequence[Sequence[Step]],
    descent: torch.optim.Optimizer,
) -> int:
    """All these steps, epoch by epoch, without dropout; returns how many. `.grad` is left empty."""
    count = 0
    try:
        with torch.enable_grad():
            for step in shown(chain.from_iterable(steps), "training again", sum(map(len, steps))):
                step.take(model, tokenizer, descent)
                count += 1
    finally:
        model.zero_grad(set_to_none=True)
    return count


def learn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    recipe: Recipe,
    moving: Mapping[str, torch.nn.Parameter],
) -> int:
    """Train `moving` on these examples alone, from where the model stands; returns the number of steps."""
    steps = plan({e.id: e for e in examples}, recipe, ())
    return take(model, tokenizer, steps, optimizer(moving.values(), recipe))


def of_training(examples: Sequence[Example], history: History) -> dict[str, Example]:
    """Those of a training, in its order, by id. DataError where one is missing or is another text."""
    told = {e.id: e for e in examples}
    if missing := [i for i in history.ids if i not in told]:
        raise DataError(f"examples= lacks {missing[0]!r}, which the training of {history.path} had")
    by_id = {i: told[i] for i in history.ids}
    if digest(by_id.values()) != history.told["data"]:
        raise DataError(f"examples= are not those of the training of {history.path}: a text differs")
    return by_id


def require_trainable(model: PreTrainedModel, history: History) -> None:
    """ModelError unless the weights that may move are those that the training moved."""
    free = {n for n, p in model.named_parameters() if p.requires_grad}
    if differing := free ^ set(history.trainable):
        name = min(differing)
        raise ModelError(
            f"{history.path} is the history of a model with other trainable weights: {name!r} may move "
            f"{'here' if name in free else 'there'} alone. Freeze what that training froze, and nothing "
            "else: training.freeze(model, history.recipe)"
        )


def require_epoch(history: History, epoch: int) -> None:
    """ConfigError for an epoch that is not kept, or after which nothing is left to train."""
    kept = [e for e in history if e < history.recipe.epochs]
    if epoch not in kept:
        raise ConfigError(f"epoch={epoch}: {history.path} keeps {', '.join(map(str, kept))} to go on from")
