"""Gradient ascent is plain SGD upwards, and a path of it is as long as asked for."""

import pytest
import torch
from reference_losses import FORGET, SHAPES, World
from unlearning_helpers import FACTS, REQUEST, autograd_gradient, error, norm_of, same

from unlearnkit import unlearning


@pytest.mark.parametrize("arch", ["gpt2", "llama"])
@pytest.mark.parametrize("steps", [1, 3])
def test_gradient_ascent_is_torchs_sgd_upwards(arch, steps, tiny_model, tiny_tokenizer):
    """k steps on the forget set's summed loss, the gradient recomputed at each; no ledger needed."""
    ours, theirs = tiny_model(arch), tiny_model(arch)
    unlearning.apply(
        "gradient_ascent",
        ours,
        request=REQUEST,
        examples=FACTS,
        tokenizer=tiny_tokenizer,
        alpha=0.05,
        steps=steps,
        divisor=4.0,
        batch_size=2,
    )
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, maximize=True)
    for _ in range(steps):
        terms = [autograd_gradient(theirs, tiny_tokenizer, e, "answer", divisor=4) for e in FACTS[:3]]
        for n, p in theirs.named_parameters():
            p.grad = sum(t[n] for t in terms)
        optimizer.step()
    start = {n: p.detach() for n, p in tiny_model(arch).named_parameters()}
    moved = {n: p.detach() - start[n] for n, p in ours.named_parameters()}
    assert error(moved, {n: p.detach() - start[n] for n, p in theirs.named_parameters()}) < 1e-4


@SHAPES
def test_gradient_ascent_is_its_formula_in_float64(arch, tied, tiny_model, tiny_tokenizer):
    """theta + alpha * (sum over the request of grad l_i(theta)) / divisor, from some way off, and again."""
    world = World(tiny_model(arch, tied), tiny_tokenizer)
    world.nudge()
    now, start = world.double(), world.double().state_dict()
    given = {"request": REQUEST, "examples": FACTS, "tokenizer": tiny_tokenizer}
    unlearning.apply("gradient_ascent", world.model, **given, alpha=0.5, steps=2, divisor=4.0)
    for _ in range(2):
        loss = sum(world.nll(now, e).mean() for e in FORGET) / 4
        gradients = torch.autograd.grad(loss, list(now.parameters()))
        for p, g in zip(now.parameters(), gradients, strict=True):
            p.data += 0.5 * g
    ours, theirs = (
        {n: p.detach().double() - start[n] for n, p in model.named_parameters()}
        for model in (world.model, now)
    )
    assert error(ours, theirs) < 1e-4


@pytest.mark.parametrize("steps", [1, 2])
def test_a_path_is_repeated_application(steps, trained):
    """Norms count the way walked; each step's gradient is the one where the last step ended."""
    start = trained.weights()
    places = []
    for point in trained.path("gradient_ascent", norms=[0.1, 0.3], steps=steps):
        places.append((trained.weights(), point))
    assert same(trained.weights(), start)
    for (there, point), leg in zip(places, (0.1, 0.2), strict=True):
        for _ in range(steps):
            trained.apply("gradient_ascent", norm=leg / steps)
        assert error(moved_from(start, trained.weights()), moved_from(start, there)) < 1e-5
        assert point.norm == pytest.approx(norm_of(moved_from(start, there)), rel=1e-4)
    assert 0 < places[0][1].alpha < places[1][1].alpha


def moved_from(start, weights):
    return {n: t - start[n] for n, t in weights.items()}
