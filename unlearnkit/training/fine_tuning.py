"""`fine_tune`: a model, examples and a recipe, with the ledger listening."""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import data, devices, layers, weights
from unlearnkit.data import Example, require_own_ids
from unlearnkit.errors import ConfigError, DivergenceError, RequestError
from unlearnkit.ledger import recording
from unlearnkit.ledger.locking import alone
from unlearnkit.ledger.store import Store
from unlearnkit.models.fitting import require_fit
from unlearnkit.training import steps
from unlearnkit.training.history import INDEX, History, Keeper
from unlearnkit.training.recipe import Recipe, freeze
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
    device: str  # where the model was


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
    ledger_factors: bool = False,
    history: str | Path | None = None,
    updates: Collection[str] = (),
    summed: bool = False,
    on_epoch: Callable[[int, PreTrainedModel], object] | None = None,
    progress: bool = True,
) -> Run:
    """Fine-tune `model` in place; returns the Run.

    `exclude` leaves those ids out and keeps everybody else's place: the oracle. `ledger` keeps each example's
    gradient per epoch (in `record`, default all) in a folder, AdamW's second moments at each epoch's end (2
    bytes a weight), and a checkpoint, from which an interrupted call resumes to the same numbers; LedgerError
    for one of another training, or in use elsewhere. Long texts leave whole gradients in it where these are
    smaller and no `ledger_factors` are asked for. `history` keeps in another weights and the optimizer's
    state at every epoch's end (4 bytes a weight with SGD, 12 with AdamW), and what each step with one of
    `updates` added, or the sum of that if `summed`. `run.notes` has what `on_epoch` returned. DataError for a
    text beyond the model's positions, DivergenceError if the loss diverges; the last epoch stays on disk.
    """
    recipe, exclude, form = recipe or Recipe(), tuple(exclude), (ledger_dtype, ledger_factors)
    named = {"exclude": exclude, "record": record or (), "updates": updates, "Recipe.staged": recipe.staged}
    _require_possible(model, ledger, history)
    by_id = identified(examples, named)
    require_fit(model.config, tokenizer, [e for i, e in by_id.items() if i not in exclude], recipe.loss_on)
    freeze(model, recipe)
    model.eval()  # dropout off: gradients that the ledger and the oracle can share
    plan, initial = steps.plan(by_id, recipe, exclude), weights.keep_initial(model)
    state = State(model, steps.optimizer(_moving(model, recipe), recipe), Progress())
    with contextlib.nullcontext() if ledger is None else alone(ledger):
        session = ledger and _session(ledger, state, recipe, by_id, exclude, record, *form)
        keeper = history and _keeper(history, state, recipe, by_id, exclude, updates, summed, session)
        _train(state, tokenizer, plan, session, keeper, on_epoch, {} if progress else {"disable": True})
    _require_finite(model, recipe)
    model.zero_grad(set_to_none=False)
    told = {"initial": initial, "device": model.device.type} | vars(state.progress)
    return Run(recipe, [tuple(e.id for e in s.examples) for epoch in plan for s in epoch], recipe.lr, **told)


def _require_possible(model, ledger: str | Path | None, history: str | Path | None) -> None:
    """ConfigError where a ledger and a history are to share a folder; ModelError on an unproven device."""
    devices.require_proven(model)
    is_same = ledger and history and Path(ledger).resolve() == Path(history).resolve()
    if is_same or (history and Store.exists(Path(history))):
        raise ConfigError(f"history={str(history)!r} is the folder of a ledger: give each its own")
    if ledger and (Path(ledger) / INDEX).exists():
        raise ConfigError(f"ledger={str(ledger)!r} is the folder of a history: give each its own")


def _moving(model: PreTrainedModel, recipe: Recipe) -> list[nn.Parameter]:
    """The parameters that the recipe trains."""
    return [p for p in layers.parameters(model, recipe.layers or "all").values() if p.requires_grad]


def _session(
    ledger, state: State, recipe: Recipe, by_id: Mapping, exclude, record, dtype: str, factors: bool
) -> Session:
    """The tie to a ledger's folder, which may hold the beginning of this very training."""
    wanted = set(by_id if record is None else record) - set(exclude)
    told = {"exclude": sorted(exclude), "data": data.digest(by_id.values())}
    texts = {i: data.digest([e]) for i, e in by_id.items() if i in wanted}
    return Session(Path(ledger), state, recipe, told, texts, dtype, factors)


def _keeper(
    history, state: State, recipe: Recipe, by_id: Mapping, exclude, updates, summed, session: Session | None
) -> Keeper:
    """What writes the history's folder, which holds those of the epochs already done."""
    if recipe.layers:
        raise ConfigError("a history needs every weight free to move: leave history= or Recipe.layers out")
    way = History.begin(history, state.model, by_id, recipe, exclude, summed)
    return Keeper(way, state, set(updates) - set(exclude), session.done if session else 0)


def _train(
    state: State,
    tokenizer: PreTrainedTokenizerBase,
    plan: Sequence[Sequence[steps.Step]],
    session: Session | None,
    keeper: Keeper | None,
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
                with keeper.watching(step, len(progress.losses)) if keeper else contextlib.nullcontext():
                    values = step.take(state.model, tokenizer, state.optimizer, session)
                progress.losses.append(sum(values) / step.recipe.batch_size)
                bar.set_postfix(epoch=f"{epoch}/{last}", loss=f"{sum(values) / len(values):.3f}")
                bar.update()
            if on_epoch:
                progress.notes.append(on_epoch(epoch, state.model))
            progress.seconds = time.perf_counter() - started
            if keeper:
                keeper.keep(epoch)
            if session:
                rates = [step.rate for step in plan[epoch - 1]]
                session.commit(epoch, mean(rates or [0.0]))  # none where all that it is about are excluded


def identified(examples: Sequence[Example], named: Mapping[str, Collection[str]]) -> dict[str, Example]:
    """The examples by id. RequestError for an id that two have or that only `named` tells of, by option; and
    where nobody is left beside those named for "exclude".
    """
    require_own_ids((e.id for e in examples), "the examples'")
    by_id = {e.id: e for e in examples}
    for name, ids in named.items():
        if unknown := [i for i in ids if i not in by_id]:
            raise RequestError(f"{name}= names unknown examples: {', '.join(map(repr, unknown[:5]))}")
    if not set(by_id) - set(named.get("exclude", ())):
        raise RequestError("nothing is left to train on: there are no examples, or exclude= names them all")
    return by_id


def _require_finite(model: PreTrainedModel, recipe: Recipe) -> None:
    for name, parameter in model.named_parameters():
        if not weights.is_finite(parameter):
            raise DivergenceError(
                f"training diverged: {name} is not finite with lr={recipe.lr}; use a smaller one"
            )
