"""jang, grad_diff, kl_min, wga: formulas in float64, what each is to ascent; finetune_retain without any."""

import pytest
import torch
from reference_losses import FORGET, RETAIN, SHAPES, World, agree, kl, mean
from unlearning_helpers import FRESH

from unlearnkit import metrics
from unlearnkit.forward import losses


@pytest.fixture
def world(arch, tied, tiny_model, tiny_tokenizer):
    return World(tiny_model(arch, tied), tiny_tokenizer)


@SHAPES
def test_jang_is_minus_the_nll(world):
    """GA loss = -NLL, to the bit, and in float64."""
    forget, retain = world.batches("text")
    assert torch.equal(world.loss_of("jang")(forget, retain), -losses(world.model, forget).mean())
    agree(world, "jang", lambda now, _: -mean(world.nll(now, e, "text").mean() for e in FORGET), "text")


@SHAPES
def test_grad_diff(world):
    def formula(now, _then):
        lost, kept = (mean(world.nll(now, e).mean() for e in part) for part in (FORGET, RETAIN))
        return -0.7 * lost + 2 * kept

    agree(world, "grad_diff", formula, gamma=0.7, alpha_retain=2.0)


@SHAPES
def test_finetune_retain_is_descent_on_what_is_retained_alone(world):
    agree(world, "finetune_retain", lambda now, _: mean(world.nll(now, e).mean() for e in RETAIN))


@SHAPES
def test_kl_min(world):
    def formula(now, then):
        held = mean(kl(world.p(then, e), world.p(now, e)) for e in RETAIN)
        return 3 * held - 0.5 * mean(world.nll(now, e).mean() for e in FORGET)

    agree(world, "kl_min", formula, gamma=0.5, alpha_retain=3.0)


@SHAPES
def test_kl_of_identical_models_is_zero(world):
    batches = world.batches()
    value = world.loss_of("kl_min", gamma=0.0)(*batches)
    assert value.item() == pytest.approx(0, abs=1e-6)
    world.nudge()
    assert world.loss_of("kl_min", gamma=0.0)(*batches).item() == pytest.approx(0, abs=1e-6)


@SHAPES
def test_wga(world):
    def formula(now, _then):
        weighted = []
        for e in FORGET:
            nll = world.nll(now, e)
            weighted.append(((-0.5 * nll.detach()).exp() * nll).mean())
        return -0.8 * mean(weighted) + 2 * mean(world.nll(now, e).mean() for e in RETAIN)

    agree(world, "wga", formula, beta=0.5, gamma=0.8, alpha_retain=2.0)


@SHAPES
def test_wga_without_weighting_is_gradient_difference(world):
    plain = world.loss_of("grad_diff")(*world.batches())
    assert world.loss_of("wga", beta=0.0)(*world.batches()).item() == pytest.approx(plain.item(), rel=1e-5)


def test_jangs_rule_fires(trained):
    """It ends the walk at the first step at which the facts are known no better than unseen ones are."""
    model, tokenizer = trained.model, trained.tokenizer
    until = metrics.as_unknown(model, tokenizer, FORGET, FRESH)
    asked = []
    rule = lambda: asked.append(until()) or asked[-1]  # noqa: E731
    start = trained.weights()
    told = [s.told for s in trained.path("jang", until=rule, lr=3e-3, loss_on="answer")]
    assert [t["stopped"] for t in told] == asked
    assert asked[-1]
    assert not any(asked[:-1])
    assert len(told) < 20
    assert [t["step"] for t in told] == list(range(1, len(told) + 1))
    result = trained.apply("jang", until=rule, lr=3e-3, loss_on="answer")
    assert until()
    result.revert()
    assert all(torch.equal(p, start[n]) for n, p in model.named_parameters())


def test_jangs_batch_is_the_whole_forget_set(trained):
    sizes = []
    from unlearnkit.unlearning import terms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms, "mean_nll", lambda m, b: sizes.append(len(b.ids)) or losses(m, b).mean())
        trained.apply("jang", until=None, steps=2)
    assert sizes == [3, 3]
