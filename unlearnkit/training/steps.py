"""The steps of a fine-tuning: what each is of, and how it is taken."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward
from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError
from unlearnkit.training.recipe import Recipe, schedule
from unlearnkit.training.session import Session


def optimizer(parameters: Iterable[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer of these parameters, new."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(list(parameters), lr=recipe.lr)
    return torch.optim.AdamW(list(parameters), lr=recipe.lr, weight_decay=0.0, fused=True)


@dataclass
class Step:
    """One optimizer step, its gradients taken in `accumulate` backward passes, with the ledger listening."""

    recipe: Recipe
    epoch: int  # from 1
    number: int  # within the epoch, from 0
    rate: float
    examples: list[Example]

    def take(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        optimizer: torch.optim.Optimizer,
        session: Session | None = None,
    ) -> list[float]:
        """Move the weights; returns the l_i before."""
        values = self.backward(model, tokenizer, session)
        optimizer.param_groups[0]["lr"] = self.rate
        optimizer.step()
        return values

    def backward(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, session: Session | None = None
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


def plan(by_id: Mapping[str, Example], recipe: Recipe, exclude: Collection[str]) -> list[list[Step]]:
    """The steps of each epoch that have examples, with the rates of their places among all."""
    found, before = [], 0
    epochs = schedule(list(by_id), recipe, exclude)
    total = sum(map(len, epochs))
    for epoch, steps in enumerate(epochs, start=1):
        rates = [recipe.rate(before + number, total) for number in range(len(steps))]
        found.append(
            [
                Step(recipe, epoch, number, rates[number], [by_id[i] for i in ids])
                for number, ids in enumerate(steps)
                if ids
            ]
        )
        before += len(steps)
    return found
