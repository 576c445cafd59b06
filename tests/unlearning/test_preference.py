"""npo, simnpo, dpo: formulas in float64, and the limits that define them."""

from dataclasses import replace

import pytest
import torch
from reference_losses import FORGET, RETAIN, SHAPES, World, agree, mean
from unlearning_helpers import error

from unlearnkit.unlearning.terms import summed_nll


@pytest.fixture
def world(arch, tied, tiny_model, tiny_tokenizer):
    return World(tiny_model(arch, tied), tiny_tokenizer)


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def kept(world, now):
    return mean(world.nll(now, e).mean() for e in RETAIN)


@SHAPES
def test_npo(world):
    def formula(now, then):
        ratios = [(world.nll(then, e).sum() - world.nll(now, e).sum()).exp() for e in FORGET]
        return 2 / 0.3 * mean((1 + r**0.3).log() for r in ratios) + 0.5 * kept(world, now)

    agree(world, "npo", formula, beta=0.3, alpha_retain=0.5)


@SHAPES
def test_npo_becomes_ascent_as_beta_vanishes(world):
    """Its gradient, and its loss up to the constant (2/beta) log 2: first order in beta."""
    loss = world.loss_of("npo", beta=1e-4, alpha_retain=0.0)
    forget, retain = world.batches()
    start = summed_nll(world.model, forget).mean().item()
    world.nudge()
    parameters = dict(world.model.named_parameters())

    def gradient(value):
        return dict(zip(parameters, torch.autograd.grad(value, parameters.values()), strict=True))

    ascent = -summed_nll(world.model, forget).mean()
    theirs = gradient(ascent)
    value = loss(forget, retain).double()
    constant = 2 / 1e-4 * torch.log(torch.tensor(2.0, dtype=torch.float64))
    assert (value - constant).item() == pytest.approx(ascent.item() + start, abs=0.02)
    assert error(gradient(loss(forget, retain)), theirs) < 2e-3


@SHAPES
def test_simnpo(world):
    def formula(now, _then):
        terms = [sigmoid(2.5 * (world.nll(now, e).mean() - 0.4)).log() for e in FORGET]
        return -0.3 * 2 / 2.5 * mean(terms) + 0.5 * kept(world, now)

    agree(world, "simnpo", formula, beta=2.5, margin=0.4, gamma=0.3, alpha_retain=0.5)


@SHAPES
def test_simnpo_is_normalised_by_length(world, monkeypatch):
    """An answer said twice over, each token as likely as before, is no other answer to it."""
    from unlearnkit import forward

    forget, retain = world.batches()
    loss = world.loss_of("simnpo", alpha_retain=0.0)
    logits, tokens, counts = forward.target_logits(world.model, forget)
    plain = loss(forget, retain)
    double = [torch.cat([part, part]) for part in logits.split(counts)]
    twice = (torch.cat(double), torch.cat([torch.cat([t, t]) for t in tokens.split(counts)]))
    monkeypatch.setattr(forward, "target_logits", lambda *_: (*twice, [2 * n for n in counts]))
    assert loss(forget, retain).item() == pytest.approx(plain.item(), rel=1e-6)


@SHAPES
def test_dpo(world):
    refusals = ("not known to me", "who knows")
    win = [replace(e, answer=refusals[k % 2]) for k, e in enumerate(FORGET)]

    def formula(now, then):
        def ratio(e):
            return world.nll(then, e).sum() - world.nll(now, e).sum()

        terms = [sigmoid(0.3 * (ratio(w) - ratio(e))).log() for w, e in zip(win, FORGET, strict=True)]
        return -2 / 0.3 * mean(terms) + 0.5 * kept(world, now)

    given = {"beta": 0.3, "alpha_retain": 0.5, "refusals": refusals, "loss_on": "answer"}
    agree(world, "dpo", formula, **given)


@SHAPES
def test_dpo_and_npo_begin_at_log_2(world):
    """Where the model is its own reference, every ratio is 1."""
    for name, more in (("dpo", {"loss_on": "answer"}), ("npo", {})):
        value = world.loss_of(name, beta=0.5, alpha_retain=0.0, **more)(*world.batches())
        assert value.item() == pytest.approx(4 * 0.6931472, rel=1e-5)
