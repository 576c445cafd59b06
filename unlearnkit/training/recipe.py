"""How to fine-tune: the recipe, the order of the examples that follows from it, and what stays frozen."""

import fnmatch
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from unlearnkit.batching import LOSS_ON
from unlearnkit.errors import ConfigError

OPTIMIZERS = ("sgd", "adamw")
LR_SCHEDULES = ("constant", "linear")
WARMUP = 0.07  # of the steps; the usual few per cent
FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune.

    SGD is plain (no momentum, decay or clipping): the arm whose every step the ledger can undo, with one
    factor at the constant rate. AdamW (torch's defaults, no weight decay) is the practical arm. Dropout is
    off in both. The "linear" rate rises to `lr` over the first WARMUP of the steps while it falls to zero
    over all of them.
    """

    optimizer: str = "sgd"
    epochs: int = 5
    lr: float = 1e-3
    batch_size: int = 8
    lr_schedule: str = "constant"  # or "linear"
    seed: int = 0
    loss_on: str = "text"  # or "answer": which tokens the loss counts
    frozen: tuple[str, ...] = ()  # parameters that keep their values: names, or patterns with * in them
    accumulate: int = 1  # backward passes a step's batch is split over; the numbers stay the same

    def __post_init__(self):
        if isinstance(self.frozen, list):  # JSON knows no tuples
            object.__setattr__(self, "frozen", tuple(self.frozen))
        counts = {k: getattr(self, k) for k in ("epochs", "batch_size", "accumulate")}
        checks = {
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}"),
            "lr_schedule": (self.lr_schedule in LR_SCHEDULES, f"one of {LR_SCHEDULES}"),
            "loss_on": (self.loss_on in LOSS_ON, f"one of {LOSS_ON}"),
            "lr": (isinstance(self.lr, int | float) and 0 < self.lr <= FLOAT32_MAX, "a positive number"),
            "seed": (isinstance(self.seed, int), "a whole number"),
            "frozen": (isinstance(self.frozen, tuple), "a tuple of parameter names"),
            **{k: (isinstance(n, int) and n >= 1, "a whole number from 1") for k, n in counts.items()},
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise ConfigError(f"Recipe.{name}={getattr(self, name)!r}: use {allowed}")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step number `step` (from 0) of `steps`."""
        if self.lr_schedule == "constant":
            return self.lr
        return self.lr * min(1.0, (step + 1) / (WARMUP * steps)) * (1 - step / steps)


def schedule(
    ids: Sequence[str], recipe: Recipe, exclude: Collection[str] = ()
) -> list[list[tuple[str, ...]]]:
    """The ids of every step, per epoch: drawn over all ids, then the excluded ones dropped.

    A batch of which nobody is left stays as an empty tuple, so that steps keep their numbers.
    """
    excluded, epochs = set(exclude), []
    for epoch in range(recipe.epochs):
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        order = [ids[k] for k in torch.randperm(len(ids), generator=generator).tolist()]
        cut = [order[s : s + recipe.batch_size] for s in range(0, len(order), recipe.batch_size)]
        epochs.append([tuple(i for i in step if i not in excluded) for step in cut])
    return epochs


def freeze(model: PreTrainedModel, recipe: Recipe) -> None:
    """Freeze what a recipe names: it is neither trained nor recorded. ConfigError where it names nothing."""
    for pattern in recipe.frozen:
        named = [p for name, p in model.named_parameters() if fnmatch.fnmatchcase(name, pattern)]
        if not named:
            raise ConfigError(
                f"Recipe.frozen: {pattern!r} names no parameter of {type(model).__name__}; they are called "
                f"like {next(n for n, _ in model.named_parameters())!r}"
            )
        for parameter in named:
            parameter.requires_grad_(False)
