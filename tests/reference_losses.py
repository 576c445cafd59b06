"""Losses of trained methods against formulas in float64: one example at a time, from full logits, unpadded.

A formula is given two models in float64, as the method's own stands and as it was, and writes the loss of
the method from what is here.
"""

import copy
from importlib import import_module

import pytest
import torch
from unlearning_helpers import FACTS, REQUEST, RETAIN, error

from unlearnkit.batching import batch_of, encode
from unlearnkit.unlearning import Inputs

SHAPES = pytest.mark.parametrize(("arch", "tied"), [("gpt2", True), ("llama", False)])
FORGET = FACTS[: len(REQUEST)]


class World:
    """A tiny model, what a method is given, and short ways to ask in float64."""

    def __init__(self, model, tokenizer, layers="all"):
        self.model, self.tokenizer = model, tokenizer
        self.inputs = Inputs("test", model, list(REQUEST), layers)
        self.inputs.examples, self.inputs.retain, self.inputs.tokenizer = FACTS, RETAIN, tokenizer

    def loss_of(self, name, **options):
        """The loss function that a method makes of this model where it stands."""
        return getattr(import_module(f"unlearnkit.unlearning.methods.{name}"), name)(self.inputs, **options)

    def batches(self, loss_on="answer", side="right"):
        return [batch_of(self.tokenizer, part, loss_on, side) for part in (FORGET, RETAIN)]

    def nudge(self, seed=1, size=0.02):
        """Bring the model some way off, so that it is not what it was."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.inputs.touched.values():
                p.add_(torch.randn(p.shape, generator=generator), alpha=size)

    def double(self):
        return copy.deepcopy(self.model).double()

    def tokens(self, example, loss_on="answer"):
        return encode(self.tokenizer, example.prompt, example.answer, loss_on)

    def rows(self, model, example, loss_on="answer"):
        """Logits (n, V) in front of each labelled token, and these tokens."""
        tokens, labelled = self.tokens(example, loss_on)
        logits = model(input_ids=torch.tensor([tokens])).logits[0]
        places = [k for k, counts in enumerate(labelled) if counts]
        return logits[[k - 1 for k in places]], torch.tensor([tokens[k] for k in places])

    def nll(self, model, example, loss_on="answer"):
        """-log p of each labelled token."""
        logits, tokens = self.rows(model, example, loss_on)
        log_p = logits - logits.exp().sum(1, keepdim=True).log()
        return -log_p[torch.arange(len(tokens)), tokens]

    def p(self, model, example):
        """Probabilities (n, V) in front of each labelled token."""
        e = self.rows(model, example)[0].exp()
        return e / e.sum(1, keepdim=True)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def kl(p, q):
    """KL(p || q), mean over positions, of probabilities (n, V)."""
    return (p * (p / q).log()).sum(1).mean()


def agree(world, name, formula, labelled="answer", size=0.02, **options):
    """Loss and gradient of a method, some way off the start, are those of formula(now, then) in float64."""
    then = world.double()
    loss = world.loss_of(name, **options)
    world.nudge(size=size)
    now = world.double()
    value = loss(*world.batches(labelled))
    value.backward()
    expected = formula(now, then)
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    found = {n: p.grad.double() for n, p in world.model.named_parameters() if p.grad is not None}
    theirs = {n: p.grad for n, p in now.named_parameters() if p.grad is not None}
    assert error({n: found.get(n, 0 * g) for n, g in theirs.items()}, theirs) < 1e-3
