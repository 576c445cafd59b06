"""What a fine-tuning leaves of its way, where it is asked to: weights, optimizer state, updates.

    history.json           the recipe, whose data in which order, which files there are
    epoch-000.safetensors  theta_0; later ones hold the optimizer's state too
    step-000007.safetensors  what optimizer step 7 (from 0) added to the weights
    sum-003.safetensors    or what the steps of epochs 1 to 3 added to them, in one sum

Nothing of it is removed when an example is forgotten: whoever deletes for good deletes this folder too.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import PreTrainedModel

from unlearnkit import files, weights
from unlearnkit.data import Example, digest
from unlearnkit.errors import ModelError
from unlearnkit.training.recipe import Recipe
from unlearnkit.training.session import State
from unlearnkit.training.steps import Step

INDEX = "history.json"


class History(Mapping[int, Path]):
    """The files of a training's epochs, by epoch: 0 is theta_0. `updates` are those of steps, with their ids.

    `ids` are all examples' in the order of the data, those in `exclude` among them.
    """

    def __init__(self, path: Path, told: dict):
        self.path, self.told = Path(path), told
        self.recipe = Recipe(**told["recipe"])
        self.ids, self.exclude, self.trainable = (told[k] for k in ("ids", "exclude", "trainable"))

    @classmethod
    def begin(
        cls,
        path: str | Path,
        model: PreTrainedModel,
        by_id: Mapping[str, Example],
        recipe: Recipe,
        exclude: Collection[str],
        summed: bool = False,
    ) -> "History":
        """A new history, or the one there of this same training. ModelError where it is of another."""
        path = Path(path)
        told = {
            "recipe": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(recipe).items()},
            "exclude": sorted(exclude),
            "ids": list(by_id),
            "data": digest(by_id.values()),
            "trainable": [n for n, p in model.named_parameters() if p.requires_grad],
            "summed": summed,
        }
        if not (path / INDEX).exists():
            return cls(path, told | {"epochs": {}, "updates": {}})
        found = cls.open(path)
        if different := [k for k, value in told.items() if found.told.get(k, False) != value]:
            raise ModelError(f"{path} holds the history of another training: its {different[0]} differs")
        return found

    @classmethod
    def open(cls, path: str | Path) -> "History":
        """Read what `fine_tune(..., history=path)` kept. ModelError where that is nothing, or damaged."""
        try:
            return cls(Path(path), json.loads((Path(path) / INDEX).read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path} holds no history of a training: keep one, fine_tune(history=)"
            ) from error

    def __getitem__(self, epoch: int) -> Path:
        return self.path / self.told["epochs"][str(epoch)][0]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(map(int, self.told["epochs"])))

    def __len__(self) -> int:
        return len(self.told["epochs"])

    @property
    def updates(self) -> dict[int, tuple[str, ...]]:
        """The ids of the examples in each step whose update is kept, by the step's number from 0."""
        return {int(k): tuple(ids) for k, (*_, ids) in self.told["updates"].items()}

    @property
    def updates_of(self) -> set[str]:
        """Ids of the examples whose every step's update is kept."""
        return set(self.told.get("updates of", ()))

    def steps_of(self, request: Collection[str]) -> list[int]:
        """Numbers for `read_update`, whose updates add up to those of the steps that held one of a request.

        ModelError where some of the request's were not kept, or only in one sum with those of others.
        """
        if missing := [i for i in request if i not in self.updates_of]:
            raise ModelError(
                f"{self.path} keeps no updates of {missing[0]!r}: fine_tune(..., history=, updates=) with "
                "the ids that may be asked for"
            )
        if not self.told.get("summed"):
            return [step for step, ids in self.updates.items() if set(request) & set(ids)]
        if others := self.updates_of - set(request):
            raise ModelError(
                f"{self.path} keeps one sum of the updates of {len(self.updates_of)} examples, with those of "
                f"{min(others)!r}: ask for all of them, or train again without summed=True"
            )
        return [max(self.updates)]

    def require_end(self, model: PreTrainedModel) -> None:
        """ModelError unless the training is finished and the model is, bit for bit, where it ended."""
        if (last := max(self, default=0)) < self.recipe.epochs:
            raise ModelError(
                f"{self.path} ends after {last} of {self.recipe.epochs} epochs: finish the training"
            )
        named = dict(model.named_parameters())
        file, _ = self._file("epochs", last)
        kept = {name.removeprefix("model/") for name in weights.names(file) if name.startswith("model/")}
        if kept != set(named) or any(not torch.equal(t, named[n].cpu()) for n, t in self.read(last, named)):
            raise ModelError(
                f"the model is not the one that the training of {self.path} ended in: give that, as it was "
                "before anything was forgotten"
            )

    def astray(self, model: PreTrainedModel) -> tuple[float, float]:
        """The distance of the model from where the training ended, and of that from its start."""
        named, last = dict(model.named_parameters()), max(self)
        ends, starts = (self.read(epoch, self.trainable) for epoch in (last, 0))
        moved = way = 0.0
        for (name, end), (_, start) in zip(ends, starts, strict=True):
            here = named[name].detach()
            moved += weights.squared_length((here.cpu() - end.to(here.dtype)).float())
            way += weights.squared_length(end - start)
        return moved**0.5, way**0.5

    def read(self, epoch: int, names: Collection[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """(parameter name, tensor) as after an epoch, one at a time. ModelError if damaged."""
        file, seal = self._file("epochs", epoch)
        found = weights.read(file, [f"model/{n}" for n in names], seal)
        return ((name.removeprefix("model/"), tensor) for name, tensor in found)

    def read_update(self, step: int, names: Collection[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """(parameter name, what a step added to it), one at a time. ModelError if damaged."""
        file, seal = self._file("updates", step)
        return weights.read(file, names, seal)

    def restore(self, epoch: int, parameters: Mapping[str, torch.nn.Parameter]) -> None:
        """Put parameters back to what they were after an epoch. ModelError if damaged or of another shape."""
        file, seal = self._file("epochs", epoch)
        weights.copy_into(file, {f"model/{n}": p.data for n, p in parameters.items()}, seal)

    def restore_optimizer(
        self, epoch: int, optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.nn.Parameter]
    ) -> None:
        """Give an optimizer of these parameters the state that theirs had after an epoch."""
        file, seal = self._file("epochs", epoch)
        for key, tensor in weights.read(file, sealed=seal):
            kind, _, rest = key.partition("/")
            name, _, entry = rest.rpartition("/")
            if kind == "optimizer" and name in parameters:
                optimizer.state[parameters[name]][entry] = tensor.to(parameters[name].device)

    def _file(self, kind: str, number: int) -> tuple[Path, list]:
        file, seal, *_ = self.told[kind][str(number)]
        return self.path / file, seal

    def keep(self, kind: str, number: int, file: str, tensors: dict, *more) -> None:
        """Write a file, then name it in the index. ModelError on a full disk."""
        path = weights.save(self.path / file, tensors)
        self.told[kind][str(number)] = [file, weights.seal(path), *more]
        files.write_text(self.path / INDEX, json.dumps(self.told))


class Keeper:
    """Writes a history while a training goes on; `updates` are the ids whose steps' updates are kept."""

    def __init__(self, history: History, state: State, updates: Collection[str], done: int):
        self.history, self.state, self.wanted = history, state, set(updates)
        self.sum: dict[str, torch.Tensor] = {}
        if missing := set(range(done + 1)) - set(history) if done else ():
            raise ModelError(
                f"{history.path} lacks epoch {min(missing)} of a training that resumes after epoch {done}: "
                "train again, with ledger= and history= in new folders"
            )
        if done and self.wanted - history.updates_of:
            raise ModelError(
                f"{history.path} keeps no updates of some of updates=: train again, in new folders"
            )
        history.told["updates of"] = sorted(self.wanted | history.updates_of)
        if not done:
            self.keep(0)
        elif self._is_summed and done in history.updates:  # else none of them had its turn yet
            self.sum = dict(history.read_update(done, history.trainable))

    @property
    def _is_summed(self) -> bool:
        return bool(self.wanted and self.history.told.get("summed"))

    @contextmanager
    def watching(self, step: Step, number: int) -> Iterator[None]:
        """Keep what the step inside adds to the weights, if it holds somebody wanted."""
        ids = [e.id for e in step.examples]
        if not self.wanted & set(ids):
            yield
            return
        moving = {n: p.detach() for n, p in self.state.model.named_parameters() if p.requires_grad}
        before = {n: p.clone() for n, p in moving.items()}
        yield
        added = {n: p - before[n] for n, p in moving.items()}
        if self._is_summed:
            self.sum = {n: self.sum[n] + t if self.sum else t for n, t in added.items()}
        else:
            self.history.keep("updates", number, f"step-{number:06d}.safetensors", added, ids)

    def keep(self, epoch: int) -> None:
        """The weights as they are, the optimizer's state, and the sum of updates where one is kept."""
        if self.sum:
            self.history.keep("updates", epoch, f"sum-{epoch:03d}.safetensors", self.sum, sorted(self.wanted))
        model = self.state.model
        tensors = {f"model/{n}": p for n, p in model.named_parameters()}
        for name, parameter in model.named_parameters():
            for entry, value in self.state.optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer/{name}/{entry}"] = value
        self.history.keep("epochs", epoch, f"epoch-{epoch:03d}.safetensors", tensors)
