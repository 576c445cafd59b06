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
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward, weights
from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DivergenceError, RequestError
from unlearnkit.ledger import recording
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.training.recipe import Recipe, schedule
from unlearnkit.training.session import Run, Session


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
    What the recipe freezes stays so. A loss that is not finite raises DivergenceError; the last committed
    epoch stays on disk.
    """
    recipe = recipe or Recipe()
    by_id = _by_id(examples, exclude, record)
    freeze(model, recipe)
    model.eval()  # dropout off: gradients that the ledger and the oracle can share
    recorded = set(by_id if record is None else record) - set(exclude)
    epochs = schedule(list(by_id), recipe, exclude)
    run = Run(recipe, [s for e in epochs for s in e if s], recipe.lr, [], weights.keep_initial(model), 0.0)
    optimizer, session = _optimizer(model, recipe), None
    if ledger is not None:
        told = asdict(recipe) | {"frozen": list(recipe.frozen), "exclude": sorted(exclude)}
        told["data"] = _digest(by_id.values())
        wanted = [i for i in by_id if i in recorded]
        session = Session(Path(ledger), model, optimizer, wanted, told, ledger_dtype, run)
    trainer = _Trainer(model, tokenizer, recipe, optimizer, session.recorder if session else None, recorded)
    started = time.perf_counter() - run.seconds
    bar = _bar(run, progress)
    with trainer.recorder or contextlib.nullcontext(), bar:
        for epoch in range(session.done + 1 if session else 1, recipe.epochs + 1):
            trainer.epoch(epoch, [[by_id[i] for i in ids] for ids in epochs[epoch - 1]], run, bar)
            if on_epoch:
                run.notes.append(on_epoch(epoch, model))
            run.seconds = time.perf_counter() - started
            if session:
                session.commit(epoch, last=epoch == recipe.epochs)
    _require_finite(model, recipe)
    model.zero_grad(set_to_none=False)
    return run


def _bar(run: Run, progress: bool) -> tqdm:
    quiet = {} if progress else {"disable": True}  # else TQDM_DISABLE decides
    return tqdm(total=len(run.order), initial=len(run.losses), desc="fine-tune", unit="step", **quiet)


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
class _Trainer:
    """Makes optimizer steps, with the ledger listening."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    recorder: Recorder | None
    recorded: set[str]

    def epoch(self, epoch: int, steps: list[list[Example]], run: Run, bar: tqdm) -> None:
        """One epoch; an emptied step keeps its number and is passed over."""
        for number, examples in enumerate(steps):
            if not examples:
                continue
            steps_before = (epoch - 1) * len(steps) + number
            rate = self.recipe.rate(steps_before, self.recipe.epochs * len(steps))
            values = self._backward(examples, epoch, number, rate)
            self.optimizer.param_groups[0]["lr"] = rate
            self.optimizer.step()
            run.losses.append(sum(values) / self.recipe.batch_size)
            loss = f"{sum(values) / len(values):.3f}"
            bar.set_postfix(epoch=f"{epoch}/{self.recipe.epochs}", loss=loss)
            bar.update()

    def _backward(self, examples: list[Example], epoch: int, number: int, rate: float) -> list[float]:
        """Fill `.grad` with the gradient of (1/B) sum_i l_i, in `accumulate` passes; returns the l_i."""
        self.model.zero_grad(set_to_none=False)
        size = -(-len(examples) // self.recipe.accumulate)
        values: list[float] = []
        for start in range(0, len(examples), size):
            batch = batch_of(self.tokenizer, examples[start : start + size], self.recipe.loss_on)
            if self.recorder:
                self.recorder.expect(batch, [k for k, i in enumerate(batch.ids) if i in self.recorded])
            losses = forward.losses(self.model, batch)
            values += losses.tolist()
            if not all(math.isfinite(v) for v in values):
                raise DivergenceError(
                    f"training diverged in epoch {epoch}, step {number}: the loss became {values[-1]} with "
                    f"lr={self.recipe.lr}. Use a smaller learning rate"
                )
            (losses.sum() / self.recipe.batch_size).backward()
            if self.recorder:
                self.recorder.finish(epoch, number, rate)
        return values
