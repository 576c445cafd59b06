"""A fine-tuning tied to a ledger folder: resumed if it was interrupted, refused if it is another run's."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from unlearnkit import models, weights
from unlearnkit.errors import LedgerError, ModelError
from unlearnkit.ledger import recording
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.ledger.store import Store
from unlearnkit.training.recipe import Recipe

CHECKPOINT_SECONDS = 150.0  # a ledger is committed at the first epoch's end after this, and at the last


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

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps, in JSON values."""
        return {"losses": self.losses, "seconds": self.seconds, "notes": self.notes}

    def resume(self, losses: list[float], seconds: float, notes: list) -> None:
        """Go on from a checkpoint's `progress`."""
        self.losses, self.seconds, self.notes = losses, seconds, notes


class Session:
    """Opens or resumes the ledger at `path`, and commits it together with the weights it ended in.

    On resumption the model, the optimizer and `run` are brought to the last commit.
    """

    def __init__(
        self,
        path: Path,
        model: PreTrainedModel,
        optimizer: torch.optim.Optimizer,
        wanted: list[str],
        description: dict[str, Any],
        dtype: str,
        run: Run,
    ):
        self.model, self.optimizer, self.run = model, optimizer, run
        if Store.exists(path):
            self.store = Store.load(path)
            self._require_same(model, wanted, description, dtype)
            self.store.drop_torn_tail()
            for path in self.store.path.glob("training-*.safetensors"):
                if path != self._file(self.done):  # killed between a checkpoint and the index, or just after
                    path.unlink()
            self._restore()
        else:
            self.store = recording.create(path, model, wanted, description, dtype)
        self.recorder = Recorder(model, self.store)
        self.saved_at = time.monotonic()

    @property
    def done(self) -> int:
        return self.store.epochs

    def _require_same(self, model, wanted, description, dtype) -> None:
        head = self.store.head
        here = {
            **description,
            "dtype": dtype,
            "recorded examples": wanted,
            "model": models.fingerprint(model),
        }
        there = {
            **head["recipe"],
            "dtype": head["dtype"],
            "recorded examples": head["expected"],
            "model": head["model"]["fingerprint"],
        }
        if different := [k for k in here if here[k] != there.get(k)]:
            key = different[0]
            raise LedgerError(
                f"{self.store.path} already holds a ledger of another run: {key} is {_short(there.get(key))} "
                f"there and {_short(here[key])} here. Choose another folder, or delete that one"
            )

    def _file(self, epoch: int) -> Path:
        return self.store.path / f"training-{epoch:03d}.safetensors"

    def _state(self) -> dict[str, torch.Tensor]:
        """Weights and optimizer state under flat names."""
        flat = {f"model/{n}": p for n, p in weights.parameters(self.model).items()}
        for k, state in self.optimizer.state_dict()["state"].items():
            flat |= {f"optimizer/{k}/{n}": t for n, t in state.items()}
        return flat

    def _restore(self) -> None:
        if not self.done:
            return
        if self.done < self.run.recipe.epochs and self.run.recipe.optimizer == "adamw":
            self._make_optimizer_state()
        state = self._state()
        if self.done == self.run.recipe.epochs:
            state = {k: t for k, t in state.items() if k.startswith("model/")}
        weights.copy_into(self._file(self.done), state)
        self.run.resume(**self.store.progress)

    def _make_optimizer_state(self) -> None:
        """Let AdamW allocate its moments, by a step with zero gradients that the checkpoint overwrites."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()

    def commit(self, epoch: int, last: bool) -> None:
        """Publish all epochs so far together with the weights they ended in, if it is time."""
        if not last and time.monotonic() - self.saved_at < CHECKPOINT_SECONDS:
            self.recorder.end_epoch()
            return
        before = self._file(self.done)
        state = self._state()
        if last:  # nobody resumes a finished run's optimizer
            state = {k: t for k, t in state.items() if k.startswith("model/")}
        try:
            weights.save(self._file(epoch), state)
        except ModelError as error:
            raise LedgerError(f"epoch {epoch} of ledger {self.store.path} is not kept: {error}") from error
        self.recorder.commit(epoch, **self.run.progress())
        before.unlink(missing_ok=True)
        self.saved_at = time.monotonic()


def _short(value) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
