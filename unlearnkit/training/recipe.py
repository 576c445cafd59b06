"""How to fine-tune: the recipe, the order of the examples that follows from it, and what stays frozen."""

import fnmatch
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields

import torch
from transformers import PreTrainedModel

from unlearnkit.batching import LOSS_ON
from unlearnkit.errors import ConfigError
from unlearnkit.training import adapters

OPTIMIZERS = ("sgd", "adamw")
LR_SCHEDULES = ("constant", "linear")
ORDERS = ("together", "first", "last", "spread")
WARMUP = 0.07  # of the steps; the usual few per cent
FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune.

    SGD is plain (no momentum, decay or clipping): the arm whose every step the ledger can undo, with one
    factor at the constant rate. AdamW (torch's defaults, no weight decay) is the practical arm. Dropout is
    off in both. The "linear" rate rises to `lr` over the first WARMUP of the steps while it falls to zero
    over all of them.

    Unless the `order` is "together", the `staged` examples and the others have epochs of their own, half of
    all each: theirs are the "first" ones, the "last", or every second one ("spread"). The batches are the
    same in all three; their order is what differs.
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
    order: str = "together"  # or another of ORDERS
    staged: tuple[str, ...] = ()  # ids
    layers: tuple[str, ...] = ()  # names of the only ones to move; gradients of the others are recorded too
    lora: int = 0  # the rank of adapters, which then are all that is trained and recorded; 0 for none

    def __post_init__(self):
        for name in ("frozen", "staged", "layers"):
            if isinstance(getattr(self, name), list):  # JSON knows no tuples
                object.__setattr__(self, name, tuple(getattr(self, name)))
        counts = {k: getattr(self, k) for k in ("epochs", "batch_size", "accumulate")}
        checks = {
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}"),
            "lr_schedule": (self.lr_schedule in LR_SCHEDULES, f"one of {LR_SCHEDULES}"),
            "loss_on": (self.loss_on in LOSS_ON, f"one of {LOSS_ON}"),
            "lr": (isinstance(self.lr, int | float) and 0 < self.lr <= FLOAT32_MAX, "a positive number"),
            "seed": (isinstance(self.seed, int), "a whole number"),
            "frozen": (isinstance(self.frozen, tuple), "a tuple of parameter names"),
            "layers": (isinstance(self.layers, tuple), "a tuple of layer names"),
            "order": (self.order in ORDERS, f"one of {ORDERS}"),
            "staged": (
                isinstance(self.staged, tuple) and bool(self.staged) == self.is_staged,
                "a tuple of ids where the order is not 'together', and none where it is",
            ),
            "lora": (isinstance(self.lora, int) and self.lora >= 0, "a rank, or 0 for no adapters"),
            **{k: (isinstance(n, int) and n >= 1, "a whole number from 1") for k, n in counts.items()},
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise ConfigError(f"Recipe.{name}={getattr(self, name)!r}: use {allowed}")
        if self.is_staged and self.epochs % 2:
            raise ConfigError(f"Recipe.epochs={self.epochs}: order={self.order!r} needs an even number")

    @property
    def is_staged(self) -> bool:
        return self.order != "together"

    @property
    def passes(self) -> int:
        """How many epochs each example is trained on in."""
        return self.epochs // 2 if self.is_staged else self.epochs

    def described(self) -> dict:
        """What a ledger says of it, in JSON: ids as a digest, and of the later fields only what is not usual.

        So a ledger that was begun before there were these can be resumed.
        """
        told = asdict(self) | {"frozen": list(self.frozen), "layers": list(self.layers)}
        ids = json.dumps(sorted(self.staged)).encode()
        told["staged"] = hashlib.blake2b(ids, digest_size=16).hexdigest()
        usual = {f.name for f in fields(self) if f.default == getattr(self, f.name)}
        return {k: v for k, v in told.items() if k not in usual & {"order", "staged", "layers", "lora"}}

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step number `step` (from 0) of `steps`."""
        if self.lr_schedule == "constant":
            return self.lr
        return self.lr * min(1.0, (step + 1) / (WARMUP * steps)) * (1 - step / steps)


def schedule(
    ids: Sequence[str], recipe: Recipe, exclude: Collection[str] = ()
) -> list[list[tuple[str, ...]]]:
    """The ids of every step, per epoch: drawn over all ids, then the excluded ones dropped.

    A batch of which nobody is left stays as an empty tuple, so that steps keep their numbers. Of a staged
    recipe's epochs each has the staged ids or the others.
    """
    excluded, epochs = set(exclude), []
    for epoch in range(recipe.epochs):
        present, number = _lesson(ids, recipe, epoch)
        seed = (recipe.seed * 1_000_003 + number) % 2**63  # torch takes no more
        generator = torch.Generator().manual_seed(seed)
        order = [present[k] for k in torch.randperm(len(present), generator=generator).tolist()]
        cut = [order[s : s + recipe.batch_size] for s in range(0, len(order), recipe.batch_size)]
        epochs.append([tuple(i for i in step if i not in excluded) for step in cut])
    return epochs


def _lesson(ids: Sequence[str], recipe: Recipe, epoch: int) -> tuple[Sequence[str], int]:
    """The ids that an epoch (from 0) is about, and how many epochs they have had."""
    if not recipe.is_staged:
        return ids, epoch
    half, staged = recipe.passes, set(recipe.staged)
    if recipe.order == "spread":
        number, is_theirs = epoch // 2, epoch % 2 == 0
    else:
        number, is_theirs = epoch % half, (epoch < half) == (recipe.order == "first")
    return [i for i in ids if (i in staged) == is_theirs], number


def freeze(model: PreTrainedModel, recipe: Recipe) -> None:
    """Freeze what a recipe names, and all but adapters where it wants these, which are then put in.

    What is frozen is neither trained nor recorded. ConfigError where a name is no parameter's.
    """
    if recipe.lora:
        adapters.add(model, recipe.lora)
    for parameter in frozen(model, recipe):
        parameter.requires_grad_(False)


def frozen(model: PreTrainedModel, recipe: Recipe) -> list[torch.nn.Parameter]:
    """The parameters that a recipe names as frozen. ConfigError where a name is no parameter's."""
    found: list[torch.nn.Parameter] = []
    for pattern in recipe.frozen:
        named = [p for name, p in model.named_parameters() if fnmatch.fnmatchcase(name, pattern)]
        if not named:
            raise ConfigError(
                f"Recipe.frozen: {pattern!r} names no parameter of {type(model).__name__}; they are called "
                f"like {next(n for n, _ in model.named_parameters())!r}"
            )
        found += named
    return found
