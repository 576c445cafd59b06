"""What every trained method shares: padding, batches, teachers, stopping, determinism, refusals."""

import copy
import inspect
from importlib import import_module

import pytest
import torch
from reference_losses import FORGET, SHAPES, World
from unlearning_helpers import FACTS, OPTIONS, RETAIN, error, norm_of, same

from unlearnkit import unlearning
from unlearnkit.batching import Batch, batch_of
from unlearnkit.errors import DivergenceError, MethodError
from unlearnkit.forward import losses, target_logits
from unlearnkit.unlearning.descent import Descent
from unlearnkit.unlearning.masters import Masters
from unlearnkit.unlearning.teacher import Teacher, taught

TRAINED = [n for n, m in unlearning.METHODS.items() if "lora" in m.options]
SETTINGS = {"loss_on": "answer", "batch_size": None, "seed": 0}
SHORT = {k: v for told in OPTIONS.values() for k, v in told.items() if k != "until"}


def options(name):
    """What the method's own function must be told."""
    wanted = inspect.signature(function(name)).parameters
    return {k: v for k, v in (SETTINGS | SHORT).items() if k in wanted}


def function(name):
    return getattr(import_module(unlearning.METHODS[name].module), name)


def wider(batch, by, side):
    """The batch with so many more places of padding."""
    shape = (len(batch.ids), by)
    fill = [torch.full(shape, value) for value in (7, 0, -100)]  # what stands there is not read
    parts = (batch.input_ids, batch.attention_mask, batch.labels)
    pairs = zip(parts, fill, strict=True)
    return Batch(batch.ids, *(torch.cat([p, f] if side == "right" else [f, p], 1) for p, f in pairs))


@pytest.mark.parametrize("name", TRAINED)
@SHAPES
def test_padding_changes_no_loss(arch, tied, name, tiny_model, tiny_tokenizer):
    """Neither its side nor its amount."""
    world, values = World(tiny_model(arch, tied), tiny_tokenizer), []
    start = copy.deepcopy(world.model.state_dict())
    for side, more in (("right", 0), ("left", 0), ("right", 5), ("left", 5)):
        world.model.load_state_dict(start)
        loss = world.loss_of(name, **options(name))
        world.nudge()
        values.append(loss(*(wider(b, more, side) for b in world.batches(side=side))).item())
    assert values[1:] == pytest.approx([values[0]] * 3, rel=2e-5)


@pytest.mark.parametrize("name", [n for n in TRAINED if n not in ("kga", "undo", "quark")])
def test_no_example_weighs_more_for_its_company(name, tiny_model, tiny_tokenizer):
    """The loss of a batch is the mean over its examples, each alone; `retain` is the same throughout."""
    world = World(tiny_model(), tiny_tokenizer)
    loss = world.loss_of(name, **options(name))
    world.nudge()
    together, retain = world.batches()
    alone = [loss(batch_of(tiny_tokenizer, [e]), retain).item() for e in FORGET]
    assert loss(together, retain).item() == pytest.approx(sum(alone) / 3, rel=1e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_twice_and_nothing_beside_the_layers(name, trained):
    start = trained.weights()
    given = {"steps": 2, "lr": 1e-3, "layers": ["block.1", "block.0"], "batch_size": 2, "loss_on": "answer"}
    result = trained.apply(name, **given)
    there = trained.weights()
    moved = {n for n, t in there.items() if not torch.equal(t, start[n])}
    assert moved
    assert all(n.startswith(("transformer.h.0.", "transformer.h.1.")) for n in moved)
    assert all(p.grad is None or not p.grad.any() for p in trained.model.parameters())
    result.revert()
    assert same(trained.weights(), start)
    trained.apply(name, **given)
    assert same(trained.weights(), there)


def test_a_teacher_is_the_model_as_it_was(trained):
    world = World(trained.model, trained.tokenizer)
    batch = world.batches()[0]
    before = target_logits(trained.model, batch)[0].detach()
    teacher = Teacher(world.inputs)
    world.nudge()
    there = trained.weights()
    assert torch.equal(teacher.logits(batch), before)
    assert not teacher.logits(batch).requires_grad
    with pytest.raises(KeyboardInterrupt), teacher.standing():
        raise KeyboardInterrupt
    assert same(trained.weights(), there)
    world.inputs.originals.restore()


def test_a_teacher_copies_the_touched_weights_only(trained):
    world = World(trained.model, trained.tokenizer, layers="block.1")
    copied = Teacher(world.inputs)._copies
    assert copied.keys() == set(world.inputs.touched)
    assert all(n.startswith("transformer.h.1.") for n in copied)


def test_a_lesson_is_torchs_own_loop_and_leaves_the_model(trained):
    world = World(trained.model, trained.tokenizer)
    start, pupil = trained.weights(), copy.deepcopy(trained.model)
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        losses(pupil, batch_of(trained.tokenizer, RETAIN)).mean().backward()
        optimizer.step()
    how = {"lr": 1e-3, "steps": 3, "batch_size": None, "loss_on": "answer", "seed": 0}
    teacher = taught(world.inputs, RETAIN, **how)
    assert same(trained.weights(), start)
    with teacher.standing():
        learned = trained.weights()
    expected = {n: p.detach() - start[n] for n, p in pupil.named_parameters()}
    assert error({n: t - start[n] for n, t in learned.items()}, expected) < 1e-3


def test_it_ends_at_the_stop_where_it_may(trained):
    seen = []

    def until():
        seen.append(trained.weights())
        return len(seen) == 2

    start, stops = trained.weights(), []
    for stop in trained.path("grad_diff", steps=[1, 3, 5], lr=1e-3, until=until):
        stops.append(stop.told["step"])
    assert stops == [1, 3]
    assert same(trained.weights(), start)
    seen.clear()
    result = trained.apply("grad_diff", steps=[1, 3, 5], lr=1e-3, until=until)
    assert result.told["step"] == 3
    assert result.told["stopped"]
    assert same(trained.weights(), seen[1])


def test_batches_of_both_kinds_come_in_seeded_order(trained):
    world = World(trained.model, trained.tokenizer)
    seen = []

    def loss(forget, retain):
        seen.append((forget.ids, retain.ids))
        return losses(trained.model, forget).mean()

    list(Descent(world.inputs, 0.0, 4, batch_size=2).walk(loss))
    sizes = [tuple(map(len, pair)) for pair in seen]
    assert sizes == [(2, 2), (1, 2), (2, 2), (1, 2)]
    passes = [{*seen[k][0], *seen[k + 1][0]} for k in (0, 2)]
    assert passes == [{"f0", "f1", "f2"}] * 2


def test_weights_of_16_bits_take_small_steps_as_those_of_32_do(trained):
    """Each is below half of a weight's last place: rounded one by one, they would leave it where it is."""
    told, whole = {"lr": 1e-5, "steps": 40, "ledger": None}, trained.weights()
    moved = trained.apply("grad_diff", **told)
    far = moved.norm
    moved.revert()
    trained.model.to(torch.bfloat16)
    start = trained.weights()
    trained.apply("grad_diff", **told)
    steps = {n: p.float() - start[n].float() for n, p in trained.weights().items()}
    assert norm_of(steps) > 0.7 * far
    masters = Masters([trained.model.get_parameter(n) for n in whole])
    masters.factors[0].data.add_(1e-6)
    masters.merge()
    assert masters.factors[0].dtype == torch.float32
    assert torch.allclose(masters.weights[0].float(), masters.factors[0], rtol=2**-8)
    kept = Masters([torch.nn.Parameter(torch.ones(2))])
    assert kept.factors[0] is kept.weights[0]
    wide = Masters([torch.nn.Parameter(torch.ones(2).double())])
    assert wide.factors[0] is wide.weights[0]


def test_a_retain_term_needs_retain(trained):
    start = trained.weights()
    for name in ("grad_diff", "wga", "npo", "simnpo", "dpo", "undial"):
        with pytest.raises(MethodError, match=f"'{name}' needs retain="):
            trained.apply(name, alpha_retain=2.0, retain=None)
        trained.apply(name, alpha_retain=0.0, retain=None, steps=1).revert()
    for name in ("kl_min", "eul", "undo", "rmu"):
        with pytest.raises(MethodError, match=f"'{name}' needs retain="):
            trained.apply(name, retain=None)
    with pytest.raises(MethodError, match="'kga' needs fresh="):
        unlearning.apply(
            "kga", trained.model, request="f0", examples=FACTS, retain=RETAIN, tokenizer=trained.tokenizer
        )
    assert same(trained.weights(), start)


@pytest.mark.parametrize("name", ["rkld", "kga", "undo", "whp"])
def test_a_lesson_that_diverges_leaves_the_model(name, trained):
    start = trained.weights()
    bad = {"taught_lr": 1e30, "taught_steps": 2}
    bad = {"first_options": {"lr": 1e30, "steps": 2}} if name == "undo" else bad
    with pytest.raises(DivergenceError):
        trained.apply(name, **bad)
    assert same(trained.weights(), start)
