"""kga, rkld, whp, undial, eul: formulas in float64 with teachers made by torch's own loop, and identities."""

import copy

import pytest
import torch
import torch.nn.functional as F
from reference_losses import FORGET, RETAIN, SHAPES, World, agree, kl, mean
from unlearning_helpers import FRESH

from unlearnkit import unlearning
from unlearnkit.batching import batch_of
from unlearnkit.errors import MethodError
from unlearnkit.forward import losses
from unlearnkit.unlearning.terms import lowered

HOW = {"batch_size": None, "loss_on": "answer", "seed": 0}
TAUGHT = {"taught_lr": 1e-3, "taught_steps": 2}


@pytest.fixture
def world(arch, tied, tiny_model, tiny_tokenizer):
    return World(tiny_model(arch, tied), tiny_tokenizer)


def taught(model, tokenizer, examples):
    """A copy that learned the examples, all at once, in float64."""
    pupil = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(2):
        optimizer.zero_grad()
        losses(pupil, batch_of(tokenizer, examples)).mean().backward()
        optimizer.step()
    return pupil.double()


def relu_lowered(then, strong, penalty):
    return then - penalty * (strong - then).clamp(min=0)


def softmax(logits):
    e = (logits - logits.max(1, keepdim=True).values).exp()
    return e / e.sum(1, keepdim=True)


@SHAPES
def test_undial(world):
    def formula(now, then):
        terms = []
        for e in FORGET:
            logits, tokens = world.rows(then, e)
            aim = softmax(logits - 3.0 * (torch.arange(logits.shape[1])[None] == tokens[:, None]))
            terms.append(-(aim * world.p(now, e).log()).sum(1).mean())
        return mean(terms) + 0.5 * mean(world.nll(now, e).mean() for e in RETAIN)

    agree(world, "undial", formula, beta=3.0, alpha_retain=0.5)


@SHAPES
def test_undial_without_a_penalty_stays(world):
    """The gradient is zero: the model is its own target."""
    world.loss_of("undial", beta=0.0)(*world.batches()).backward()
    assert max(p.grad.abs().max() for p in world.model.parameters()) < 1e-5


@SHAPES
def test_rkld(world):
    strong = taught(world.model, world.tokenizer, FORGET)

    def formula(now, then):
        found = []
        for e in FORGET:
            logits = relu_lowered(world.rows(then, e)[0], world.rows(strong, e)[0], 4.0)
            found.append(kl(world.p(now, e), softmax(logits)))
        return mean(found)

    agree(world, "rkld", formula, penalty=4.0, **TAUGHT, **HOW)


def test_a_teacher_leaves_untouched_logits_alone():
    """What the strengthened model does not raise stays, to the bit; the rest is pushed below."""
    before, strong = torch.randn(2, 50, 7, generator=torch.Generator().manual_seed(0))
    target = lowered(before, strong, 3.0)
    raised = strong > before
    assert torch.equal(target[~raised], before[~raised])
    assert torch.allclose(target[raised], 4 * before[raised] - 3 * strong[raised], atol=1e-5)
    assert (target[raised] < before[raised]).all()


@SHAPES
@pytest.mark.parametrize("anchors", [None, {"Dave": "Anna"}])
def test_whp(world, anchors):
    strong = taught(world.model, world.tokenizer, FORGET)

    def formula(now, then):
        found = []
        for e in FORGET:
            plain = copy.copy(e)
            if anchors:
                object.__setattr__(plain, "prompt", e.prompt.replace("Dave", "Anna"))
            aim = relu_lowered(world.rows(then, plain)[0], world.rows(strong, e)[0], 4.0).argmax(1)
            found.append(-world.p(now, e).log()[torch.arange(len(aim)), aim].mean())
        return mean(found)

    agree(world, "whp", formula, penalty=4.0, anchors=anchors, **TAUGHT, **HOW)


def test_whp_refuses_anchors_that_change_the_targets(trained):
    start = trained.weights()
    for changes in ({"anchors": {"village": "town"}}, {"anchors": {"Dave": "Anna"}, "loss_on": "text"}):
        if changes.get("loss_on") is None:
            result = trained.apply("whp", steps=1, taught_steps=1, **changes)  # answers are not touched
            result.revert()
            continue
        with pytest.raises(MethodError, match="anchors= change the labelled tokens of example 'f0'"):
            trained.apply("whp", **changes)
    assert all(torch.equal(t, start[n]) for n, t in trained.weights().items())


@SHAPES
@pytest.mark.parametrize("from_reference", [False, True])
def test_kga(world, from_reference, tiny_model, arch, tied):
    begin = world.model
    if from_reference:
        begin = world.inputs.reference = tiny_model(arch, tied, seed=3)
    of_forget, of_fresh = (taught(begin, world.tokenizer, part) for part in (FORGET, FRESH))

    def formula(now, then):
        gap = mean(kl(world.p(then, e), world.p(of_fresh, e)) for e in FRESH).detach()
        apart = mean(kl(world.p(now, e), world.p(of_forget, e)) for e in FORGET) - gap
        return apart.abs() + 0.7 * mean(kl(world.p(now, e), world.p(then, e)) for e in RETAIN)

    agree(world, "kga", formula, fresh=FRESH, alpha_retain=0.7, **TAUGHT, **HOW)


@SHAPES
def test_kga_of_copies_that_learned_nothing_is_zero(world):
    """All four models are one: no gap, no distance."""
    loss = world.loss_of("kga", fresh=FRESH, taught_lr=0.0, taught_steps=1, **HOW)
    assert loss(*world.batches()).item() == pytest.approx(0, abs=1e-5)


def test_kga_refuses_a_reference_of_another_shape(trained, tiny_model):
    with pytest.raises(
        MethodError, match="reference= is another model: its 'transformer.wte.weight' differs"
    ):
        trained.apply("kga", reference=tiny_model("llama"))


@SHAPES
def test_eul(world):
    def formula(now, then):
        far = mean(kl(world.p(then, e), world.p(now, e)) for e in FORGET)
        near = mean(kl(world.p(then, e), world.p(now, e)) for e in RETAIN)
        task, lost = (mean(world.nll(now, e).mean() for e in part) for part in (RETAIN, FORGET))
        return 0.6 * near - far + 1.5 * task - 0.3 * lost

    agree(world, "eul", formula, alpha_retain=0.6, task=1.5, gamma=0.3)


def test_euls_layers_are_of_low_rank(trained):
    start = trained.weights()
    trained.apply("eul", steps=2, lr=1e-2, lora=2, layers="block.1")
    for name, tensor in trained.weights().items():
        change = tensor - start[name]
        if name.startswith("transformer.h.1.") and tensor.dim() == 2:
            sizes = torch.linalg.svdvals(change)
            assert sizes[1] > 1e-6
            assert sizes[2] < 1e-5 * sizes[0]
        else:
            assert not change.any()
    assert unlearning.METHODS["eul"].options["lora"] == 8


def test_cross_entropy_with_soft_targets_is_what_the_formula_says():
    """What `undial` asks of torch."""
    logits, aim = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    aim = aim.softmax(1)
    assert torch.allclose(
        F.cross_entropy(logits, aim, reduction="none"), -(aim * logits.log_softmax(1)).sum(1)
    )
