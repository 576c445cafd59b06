"""Cells that train: fine-tuning with its ledger, and the rewind identity."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import data, devices, ledger, models, training, weights
from unlearnkit.data import Example
from unlearnkit.ledger.store import Store
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure

WEIGHTS = "weights.safetensors"
PARTS = ("embedding.input", "embedding.output", "position", "norm.final")


def examples_of(config: dict, key: str = "facts") -> list[Example]:
    """The examples that a configuration holds."""
    tuples = ("paraphrases", "mentions")
    return [data.Example(**{k: tuple(v) if k in tuples else v for k, v in e.items()}) for e in config[key]]


def loaded(config: dict) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model as it is published, where the configuration says; and its tokenizer."""
    return models.load(config["model"], device=devices.of(config))


def start(config: dict, after: Iterable[Cell] = ()):
    """Facts, model at theta_0, tokenizer and recipe of a configuration.

    theta_0 are the model's own weights, or those that an earlier training of a second one ended in; if they
    are to be `nudged`, each is the next larger number, one rounding off.
    """
    facts = examples_of(config)
    model, tokenizer = loaded(config)
    for parameter in model.parameters() if config.get("nudged") else ():
        parameter.data = torch.nextafter(parameter.data, torch.full_like(parameter, torch.inf))
    for earlier in after:
        stand(model, earlier)
    return facts, model, tokenizer, training.Recipe(**config["recipe"])


def stand(model: PreTrainedModel, cell: Cell) -> None:
    """Put the model where a training cell ended."""
    weights.copy_into(cell.folder / WEIGHTS, {n: p.data for n, p in model.named_parameters()})


def base(cell: Cell) -> pd.DataFrame:
    """Trained without the forget set, all layers: what a second training, with it, starts from.

    Its epochs count up to 0, where the second one begins.
    """
    facts, model, tokenizer, recipe = start(cell.config)
    before = measure.facts(model, tokenizer, facts).assign(epoch=-recipe.epochs)
    run = training.fine_tune(model, tokenizer, facts, recipe, exclude=cell.config["forget"])
    weights.save(cell.folder / WEIGHTS, weights.parameters(model))
    after = measure.facts(model, tokenizer, facts).assign(epoch=0)
    return pd.concat([before, after, told(model, run)]).assign(method="base")


def train(cell: Cell) -> pd.DataFrame:
    """theta_T, its ledger, and how well each fact is known at first, half-way and in the end.

    The ledger keeps the facts that the configuration says to `record`; as `factors`, if it says so.
    """
    folder = cell.folder / "ledger"
    if Store.exists(folder) and not Store.load(folder).checkpoint:
        shutil.rmtree(folder)  # killed after its checkpoint was dropped: nothing to resume from
    kept = {"ledger": folder, "record": cell.config["record"]}
    kept["ledger_factors"] = cell.config.get("factors", False)
    rows, model = _watched(cell.config, cell.needs, **kept)
    weights.save(cell.folder / WEIGHTS, weights.parameters(model))
    Store.load(folder).drop_checkpoint()  # the weights are kept once
    return pd.concat([rows, kept_of(cell.folder)])


def kept_of(folder: Path) -> pd.DataFrame:
    """What a fine-tuning's ledger holds: records, bytes, and bytes and parameters of each part of the model.

    Parts go by elementary layer names, blocks as one, in the column `layers`; a tied matrix's parameters
    count as the input part's. `part_bytes` are those of one record: an example in an epoch.
    """
    book = ledger.GradientLedger.open(folder / "ledger")
    size = sum(f.stat().st_size for f in (folder / "ledger").rglob("*") if f.is_file())
    moments = sum(m["seal"][0] for m in book.store.moments)  # a price of its own: only adam_replay reads them
    rows = [("records", "", len(book.where)), ("ledger_bytes", "", size - moments)]
    rows.append(("moments_bytes", "", moments))
    rows.append(("weights_bytes", "", (folder / WEIGHTS).stat().st_size))
    parts: dict[tuple[str, str], float] = {}
    sizes = book.parameter_sizes()
    for slot, names in book.tags.items():
        key = "part_parameters", _part(names)
        parts[key] = parts.get(key, 0) + sizes.pop(slot.parameter, 0)
    of_module = {s.module: _part(book.tags[s.slots()[0]]) for s in book.reader.sites}
    for name, stored in book.bytes_by_site().items():
        key = "part_bytes", of_module.get(name.rpartition("/")[0], "other")
        parts[key] = parts.get(key, 0) + stored / max(len(book.where), 1)
    rows += [(metric, part, value) for (metric, part), value in parts.items()]
    return pd.DataFrame(rows, columns=["metric", "layers", "value"])


def _part(names: Iterable[str]) -> str:
    """The part that a slot with these elementary layer names belongs to."""
    if any(n.startswith("block.") for n in names):
        return "blocks"
    return next((p for p in PARTS if p in names), "other")


def recipe(cell: Cell) -> pd.DataFrame:
    """What a recipe does to the facts and to running text; nothing is kept of it, weights or gradients."""
    return _watched(cell.config)[0]


def _watched(config: dict, after: Iterable[Cell] = (), **kept) -> tuple[pd.DataFrame, PreTrainedModel]:
    """Fine-tune, and score the facts and running text on the way; the rows, and the model."""
    facts, model, tokenizer, recipe = start(config, after)

    def curve(epoch: int, current) -> list:
        if epoch not in (0, recipe.epochs // 2, recipe.epochs):
            return []
        known = measure.facts(current, tokenizer, facts)
        used = measure.utility(current, tokenizer, config["tokens"])
        return pd.concat([known, used]).assign(epoch=epoch).to_dict("records")

    before = curve(0, model)
    run = training.fine_tune(model, tokenizer, facts, recipe, **kept, on_epoch=curve)
    rows = pd.DataFrame([r for note in [before, *run.notes] for r in note])
    rows = pd.concat([rows, told(model, run)])
    return rows.assign(method="finetuned"), model


def told(model, run: training.Run) -> pd.DataFrame:
    """How long a training took, and how far it went: ||theta_T - theta_0||."""
    moved = weights.distance(run.initial, weights.parameters(model))
    values = {"training_seconds": run.seconds, "displacement": moved}
    return pd.DataFrame({"metric": list(values), "value": list(values.values())})


class _Float64Sgd:
    """Watches plain SGD and sums its gradients densely in float64: what no ledger could do better than."""

    def __init__(self, model):
        trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.sums = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in trainable.items()}
        self.model = model

    def __call__(self, _optimizer, _args, _kwargs) -> None:
        for name, total in self.sums.items():
            total += self.model.get_parameter(name).grad


def rewind(cell: Cell) -> pd.DataFrame:
    """theta_T + lr * (sum of every stored gradient) against theta_0, beside the floor of float32 rounding.

    The floor is the same rewind with the gradients of the very steps summed densely in float64.
    """
    config = cell.config
    facts, model, tokenizer, recipe = start(config)
    initial = {n: p.detach().clone() for n, p in model.named_parameters()}
    folder = cell.folder / "ledger"
    shutil.rmtree(folder, ignore_errors=True)  # the float64 sums cannot resume
    watch = _Float64Sgd(model)
    hook = register_optimizer_step_pre_hook(watch)
    try:
        training.fine_tune(model, tokenizer, facts, recipe, ledger=folder, ledger_dtype="float32")
    finally:
        hook.remove()
    book = ledger.GradientLedger.open(folder, model)
    squares = dict.fromkeys(("displacement", "ledger_error", "floor_error"), 0.0)
    now = dict(model.named_parameters())
    for name, total in book.stream(book.example_ids, "all"):
        moved = initial[name].double() - now[name].detach().double()
        squares["displacement"] += moved.square().sum().item()
        squares["ledger_error"] += (moved - recipe.lr * total).square().sum().item()
        squares["floor_error"] += (moved - recipe.lr * watch.sums[name]).square().sum().item()
    info = book.info()
    shutil.rmtree(folder)
    values = {k: v**0.5 for k, v in squares.items()}
    values |= {k: values[k] / values["displacement"] for k in ("ledger_error", "floor_error")}
    values |= {"ledger_bytes_per_record": info["bytes_per_record"], "records": len(book.where)}
    rows = pd.DataFrame({"metric": list(values), "value": list(values.values())})
    return rows.assign(method="rewind")
