"""A fine-tuning tied to a ledger folder: resumed if it was interrupted, refused if it is another run's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel

from unlearnkit import models, weights
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import recording
from unlearnkit.ledger.proof import proven
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.ledger.sites import Site
from unlearnkit.ledger.store import Store
from unlearnkit.training.recipe import Recipe

CHECKPOINT_SECONDS = 150.0  # a ledger is committed at the first epoch's end after this, and at the last


@dataclass
class Progress:
    """What there is to tell of a fine-tuning so far."""

    losses: list[float] = field(default_factory=list)  # an entry a step
    seconds: float = 0.0
    notes: list = field(default_factory=list)  # an entry an epoch


@dataclass
class State:
    """All that a fine-tuning changes as it goes, and so what a resumption brings back."""

    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    progress: Progress

    def tensors(self, optimizer: bool) -> dict[str, torch.Tensor]:
        """The weights under flat names, and the optimizer's state if it is wanted."""
        flat = {f"model/{n}": p for n, p in weights.parameters(self.model).items()}
        if optimizer:
            for k, state in self.optimizer.state_dict()["state"].items():
                flat |= {f"optimizer/{k}/{n}": t for n, t in state.items()}
        return flat

    def second_moments(self) -> dict[str, torch.Tensor]:
        """AdamW's v_hat, the bias correction applied, in bf16 by parameter name; 0 where no gradient came.

        Infinite where the recipe's `layers` leave a parameter out: its records are kept, and replayed with v
        they are no step, as they were none.
        """
        (group,), found = self.optimizer.param_groups, {}
        moving = set(group["params"])
        for name, parameter in self.model.named_parameters():
            state = self.optimizer.state.get(parameter, {})
            if state:
                seen = (
                    1 - group["betas"][1] ** state["step"].item()
                )  # the share of v that is not its start, 0
                found[name] = (state["exp_avg_sq"] / seen).to(torch.bfloat16)
            elif parameter.requires_grad:
                none = 0.0 if parameter in moving else torch.inf
                found[name] = torch.full_like(parameter, none, dtype=torch.bfloat16)
        return found

    def make_moments(self) -> None:
        """Let AdamW allocate its moments, by a step with zero gradients; a checkpoint is to overwrite it."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()


class Session:
    """Opens or resumes the ledger at `path`, and commits it together with the weights it ended in.

    On resumption `state` is brought to the last commit. `told` says, beside the recipe, what makes it this
    run and no other; `wanted` are the ids to record, with the digests of their texts. LedgerError where the
    folder holds another run's ledger.
    """

    def __init__(
        self,
        path: Path,
        state: State,
        recipe: Recipe,
        told: dict,
        wanted: Mapping[str, str],
        dtype: str,
        factors: bool,
    ):
        self.state, self.recipe, self.wanted = state, recipe, set(wanted)
        description = recipe.described() | told
        if Store.exists(path):
            self.store = Store.load(path)
            self._require_same(list(wanted), description, dtype, factors)
            self.store.drop_torn_tail()
            if self.done:
                self._restore()
        else:
            self.store = recording.create(
                path, state.model, list(wanted), description, dtype, wanted, factors
            )
        self.recorder = Recorder(state.model, self.store)
        self.saved_at = time.monotonic()

    @property
    def done(self) -> int:
        """The epochs that are kept, with the weights after them."""
        return self.store.epochs

    def _require_same(self, wanted: list[str], description: dict, dtype: str, factors: bool) -> None:
        head = self.store.head
        here = {
            **description,
            "dtype": dtype,
            "ledger_factors": factors,
            "recorded examples": wanted,
            "model": models.fingerprint(self.state.model),
        }
        there = {
            **head["recipe"],
            "dtype": head["dtype"],
            "ledger_factors": head.get("factors", False),
            "recorded examples": head["expected"],
            "model": head["model"]["fingerprint"],
        }
        if different := [k for k in here if here[k] != there.get(k)]:
            key = different[0]
            raise LedgerError(
                f"{self.store.path} already holds a ledger of another run: {key} is {_short(there.get(key))} "
                f"there and {_short(here[key])} here. Choose another folder, or delete that one"
            )
        if [Site.from_json(site) for site in head["sites"]] != proven(self.state.model):
            raise LedgerError(
                f"the ledger {self.store.path} recorded this model in another way: it has other hooks or "
                "adapters now, or transformers another version. Choose another folder, or delete that one"
            )

    def _restore(self) -> None:
        unfinished = self.done < self.recipe.epochs
        if unfinished and self.recipe.optimizer == "adamw":
            self.state.make_moments()
        self.store.read_checkpoint(self.state.tensors(optimizer=unfinished))
        self.state.progress = Progress(**self.store.progress)

    def commit(self, epoch: int, rate: float) -> None:
        """Publish all epochs so far together with the weights they ended in, if it is time.

        AdamW's second moments are kept at each epoch's end, with the mean `rate` of its steps.
        """
        whole = len(self.store.moments) == epoch - 1  # a ledger begun before these were kept goes on without
        if self.recipe.optimizer == "adamw" and whole:
            self.store.save_moments(epoch, self.state.second_moments(), rate)
        last = epoch == self.recipe.epochs
        if not last and time.monotonic() - self.saved_at < CHECKPOINT_SECONDS:
            self.recorder.end_epoch()
            return
        # nobody resumes a finished run's optimizer
        self.store.save_checkpoint(epoch, self.state.tensors(optimizer=not last))
        self.recorder.commit(epoch, **vars(self.state.progress))
        for before in self.store.unnamed():
            before.unlink()
        self.saved_at = time.monotonic()


def _short(value) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
