"""`fine_tune`: a model, examples and a recipe, with the ledger listening."""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward, layers, weights
from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError, RequestError
from unlearnkit.ledger import recording
from unlearnkit.ledger.locking import alone
from unlearnkit.models.fitting import require_fit
from unlearnkit.training.recipe import Recipe, freeze, schedule
from unlearnkit.training.session import Progress, Session, State


@dataclass
class Run:
    """What a fine-tuning did. `order` holds the ids of each optimizer step, `losses` each step's loss."""

    recipe: Recipe
    order: list[tuple[str, ...]]
    lr: float
    losses: list[float]
    initial: Path  # theta_0, as safetensors
    seconds: float
    notes: list  # what `on_epoch` returned, an entry an epoch


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
    keeps each example's gradient per epoch (those in `record`, default all), AdamW's second moments at each
    epoch's end (2 bytes a weight), and a checkpoint, from which an interrupted call with the same arguments
    resumes and ends with the same numbers; a ledger of another recipe, data or model is a LedgerError, and so
    is one that another process writes to. A text that does not fit the model's positions is a DataError.
    `on_epoch(epoch, model)` may return a JSON value for `run.notes`. What the recipe freezes
    stays frozen afterwards. A loss that is not finite raises DivergenceError; the last committed epoch stays
    on disk.
    """
    recipe = recipe or Recipe()
    by_id = _by_id(examples, exclude, record, recipe.staged)
    trained = [e for i, e in by_id.items() if i not in set(exclude)]
    require_fit(model.config, tokenizer, trained, recipe.loss_on)
    freeze(model, recipe)
    model.eval()  # dropout off: gradients that the ledger and the oracle can share
    plan = _plan(by_id, recipe, exclude)
    initial = weights.keep_initial(model)
    state, session = State(model, _optimizer(model, recipe), Progress()), None
    with contextlib.nullcontext() if ledger is None else alone(ledger):
        if ledger is not None:
            wanted = set(by_id if record is None else record) - set(exclude)
            told = {"exclude": sorted(exclude), "data": _digest(by_id.values())}
            kept = [i for i in by_id if i in wanted]
            session = Session(Path(ledger), state, recipe, told, kept, ledger_dtype)
        _train(state, tokenizer, plan, session, on_epoch, {} if progress else {"disable": True})
    _require_finite(model, recipe)
    model.zero_grad(set_to_none=False)
    order = [tuple(e.id for e in step.examples) for steps in plan for step in steps]
    return Run(recipe=recipe, order=order, lr=recipe.lr, initial=initial, **vars(state.progress))


def _train(
    state: State,
    tokenizer: PreTrainedTokenizerBase,
    plan: Sequence[Sequence["_Step"]],
    session: Session | None,
    on_epoch: Callable[[int, PreTrainedModel], object] | None,
    shown: dict,  # TQDM_DISABLE decides, unless this does
) -> None:
    """Take the steps of all epochs that the session has not kept yet."""
    progress, last = state.progress, len(plan)
    started = time.perf_counter() - progress.seconds
    bar = tqdm(
        total=sum(map(len, plan)), initial=len(progress.losses), desc="fine-tune", unit="step", **shown
    )
    with session.recorder if session else contextlib.nullcontext(), bar:
        for epoch in range(session.done + 1 if session else 1, last + 1):
            for step in plan[epoch - 1]:
                values = step.backward(state.model, tokenizer, session)
                state.optimizer.param_groups[0]["lr"] = step.rate
                state.optimizer.step()
                progress.losses.append(sum(values) / step.recipe.batch_size)
                bar.set_postfix(epoch=f"{epoch}/{last}", loss=f"{sum(values) / len(values):.3f}")
                bar.update()
            if on_epoch:
                progress.notes.append(on_epoch(epoch, state.model))
            progress.seconds = time.perf_counter() - started
            if session:
                rates = [step.rate for step in plan[epoch - 1]]
                session.commit(epoch, mean(rates or [0.0]))  # none where all that it is about are excluded


def _by_id(examples: Sequence[Example], exclude, record, staged) -> dict[str, Example]:
    by_id = {e.id: e for e in examples}
    if len(by_id) != len(examples):
        raise RequestError("the examples' ids are not unique: each needs its own")
    for name, ids in (("exclude", exclude), ("record", record or ()), ("Recipe.staged", staged)):
        if unknown := [i for i in ids if i not in by_id]:
            raise RequestError(f"{name}= names unknown examples: {', '.join(map(repr, unknown[:5]))}")
    if not set(by_id) - set(exclude):
        raise RequestError("nothing is left to train on: there are no examples, or exclude= names them all")
    return by_id


def _digest(examples: Iterable[Example]) -> str:
    text = json.dumps([(e.id, e.prompt, e.answer) for e in examples])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    moved = layers.parameters(model, recipe.layers or "all").values()
    trainable = [p for p in moved if p.requires_grad]
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

    recipe: Recipe
    epoch: int  # from 1
    number: int  # within the epoch, from 0
    rate: float
    examples: list[Example]

    def backward(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, session: Session | None
    ) -> list[float]:
        """Fill `.grad` with the gradient of (1/B) sum_i l_i; returns the l_i."""
        model.zero_grad(set_to_none=False)
        size = -(-len(self.examples) // self.recipe.accumulate)
        values: list[float] = []
        for start in range(0, len(self.examples), size):
            batch = batch_of(tokenizer, self.examples[start : start + size], self.recipe.loss_on)
            if session:
                session.recorder.expect(batch, [k for k, i in enumerate(batch.ids) if i in session.wanted])
            losses = forward.losses(model, batch)
            values += losses.tolist()
            if not all(math.isfinite(v) for v in values):
                raise DivergenceError(
                    f"training diverged in epoch {self.epoch}, step {self.number}: the loss became "
                    f"{values[-1]} with lr={self.recipe.lr}. Use a smaller learning rate"
                )
            if session:
                session.recorder.terms(losses / self.recipe.batch_size)
            (losses.sum() / self.recipe.batch_size).backward()
            if session:
                session.recorder.finish(self.epoch, self.number, self.rate)
        return values


def _plan(by_id: Mapping[str, Example], recipe: Recipe, exclude: Collection[str]) -> list[list[_Step]]:
    """The steps of each epoch that have examples, with the rates of their places among all."""
    plan = []
    epochs = schedule(list(by_id), recipe, exclude)
    before, total = 0, sum(map(len, epochs))
    for epoch, steps in enumerate(epochs, start=1):
        rates = [recipe.rate(before + number, total) for number in range(len(steps))]
        plan.append(
            [
                _Step(recipe, epoch, number, rates[number], [by_id[i] for i in ids])
                for number, ids in enumerate(steps)
                if ids
            ]
        )
        before += len(steps)
    return plan
