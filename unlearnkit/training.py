"""Fine-tuning on facts, with the ledger beside it, and same-order oracles.

Loss and order are fixed by the contract that makes leave-out exact: a step's loss is (1/B) sum_i l_i with B
the configured batch size, also in a short batch; the order is drawn over all examples, excluded ones are
then dropped from their batches without re-batching, and an emptied batch makes no optimizer step.
"""

import contextlib
import fnmatch
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward, weights
from unlearnkit.batching import LOSS_ON, batch_of
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DivergenceError, RequestError
from unlearnkit.ledger import recording
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.session import Session

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


@dataclass
class Run:
    """What a fine-tuning did. `order` holds the ids of each optimizer step, `losses` each step's loss."""

    recipe: Recipe
    order: list[tuple[str, ...]]
    lr: float
    losses: list[float]
    initial: Path  # theta_0, as safetensors
    seconds: float
    notes: list = field(default_factory=list)  # what `on_epoch` returned, an entry an epoch


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


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    recipe: Recipe | None = None,
    *,
    ledger: str | Path | None = None,
    exclude: Collection[str] = (),
    record: Collection[str] | None = None,
    ledger_dtype: str = recording.DTYPE,
    on_epoch: Callable[[int, PreTrainedModel], object] | None = None,
    progress: bool = True,
) -> Run:
    """Fine-tune `model` in place; returns the Run.

    `exclude` leaves those ids out and keeps everybody else's place: the oracle. `ledger` is a folder that
    keeps each example's gradient per epoch (those in `record`, default all) and a checkpoint, from which an
    interrupted call with the same arguments resumes and ends with the same numbers; a ledger of another
    recipe, data or model is a LedgerError. `on_epoch(epoch, model)` may return a JSON value for `run.notes`.
    What the recipe freezes stays frozen afterwards. A loss that is not finite raises DivergenceError; the
    last committed epoch stays on disk.
    """
    recipe = recipe or Recipe()
    by_id = _by_id(examples, exclude, record)
    freeze(model, recipe)
    model.eval()  # dropout off: gradients that the ledger and the oracle can share
    recorded = set(by_id if record is None else record) - set(exclude)
    epochs = schedule(list(by_id), recipe, exclude)
    run = Run(recipe, [s for e in epochs for s in e if s], recipe.lr, [], weights.keep_initial(model), 0.0)
    optimizer = _optimizer(model, recipe)
    session = None
    if ledger is not None:
        description = asdict(recipe) | {"frozen": list(recipe.frozen), "exclude": sorted(exclude)}
        description["data"] = _digest(by_id.values())
        wanted = [i for i in by_id if i in recorded]
        session = Session(Path(ledger), model, optimizer, wanted, description, ledger_dtype, run)
    recorder = session.recorder if session else None
    started = time.perf_counter() - run.seconds
    quiet = {} if progress else {"disable": True}  # else TQDM_DISABLE decides
    bar = tqdm(total=len(run.order), initial=len(run.losses), desc="fine-tune", unit="step", **quiet)
    with recorder or contextlib.nullcontext(), bar:
        for epoch in range(session.done + 1 if session else 1, recipe.epochs + 1):
            steps = epochs[epoch - 1]
            for number, ids in enumerate(steps):
                if not ids:
                    continue
                rate = recipe.rate((epoch - 1) * len(steps) + number, recipe.epochs * len(steps))
                step = _Step(epoch, number, rate, [by_id[i] for i in ids], recipe, recorder, recorded)
                values = step.backward(model, tokenizer)
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
                run.losses.append(sum(values) / recipe.batch_size)
                bar.set_postfix(epoch=f"{epoch}/{recipe.epochs}", loss=f"{sum(values) / len(values):.3f}")
                bar.update()
            if on_epoch:
                run.notes.append(on_epoch(epoch, model))
            run.seconds = time.perf_counter() - started
            if session:
                session.commit(epoch, last=epoch == recipe.epochs)
    _require_finite(model, recipe)
    model.zero_grad(set_to_none=False)
    return run


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


def _by_id(examples: Sequence[Example], exclude, record) -> dict[str, Example]:
    by_id = {e.id: e for e in examples}
    if len(by_id) != len(examples):
        raise RequestError("the examples' ids are not unique: each needs its own")
    for name, ids in (("exclude", exclude), ("record", record or ())):
        if unknown := [i for i in ids if i not in by_id]:
            raise RequestError(f"{name}= names unknown examples: {', '.join(map(repr, unknown[:5]))}")
    if not set(by_id) - set(exclude):
        raise RequestError("nothing is left to train on: there are no examples, or exclude= names them all")
    return by_id


def _digest(examples: Iterable[Example]) -> str:
    text = json.dumps([(e.id, e.prompt, e.answer) for e in examples])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    trainable = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(trainable, lr=recipe.lr)
    return torch.optim.AdamW(trainable, lr=recipe.lr, weight_decay=0.0, fused=True)


def _require_finite(model: PreTrainedModel, recipe: Recipe) -> None:
    for name, parameter in model.named_parameters():
        if not weights.is_finite(parameter):
            raise DivergenceError(
                f"training diverged: {name} is not finite with lr={recipe.lr}; use a smaller one"
            )


@dataclass
class _Step:
    """One optimizer step's gradients, in `accumulate` backward passes, with the ledger listening."""

    epoch: int
    number: int
    rate: float
    examples: list[Example]
    recipe: Recipe
    recorder: Recorder | None
    recorded: set[str]

    def backward(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[float]:
        """Fill `.grad` with the gradient of (1/B) sum_i l_i; returns the l_i."""
        model.zero_grad(set_to_none=False)
        size = -(-len(self.examples) // self.recipe.accumulate)
        values: list[float] = []
        for start in range(0, len(self.examples), size):
            batch = batch_of(tokenizer, self.examples[start : start + size], self.recipe.loss_on)
            if self.recorder:
                self.recorder.expect(batch, [k for k, i in enumerate(batch.ids) if i in self.recorded])
            losses = forward.losses(model, batch)
            values += losses.tolist()
            if not all(math.isfinite(v) for v in values):
                raise DivergenceError(
                    f"training diverged in epoch {self.epoch}, step {self.number}: the loss became "
                    f"{values[-1]} with lr={self.recipe.lr}. Use a smaller learning rate"
                )
            (losses.sum() / self.recipe.batch_size).backward()
            if self.recorder:
                self.recorder.finish(self.epoch, self.number, self.rate)
        return values
