"""UNDO: the teacher is the first method's end, the student a shrunk and noised copy, the loss their KL."""

import math

import pytest
from reference_losses import RETAIN, SHAPES, World, agree, kl, mean
from unlearning_helpers import same

from unlearnkit.errors import MethodError

FIRST = {"steps": 1, "lr": 1e-3}


@SHAPES
def test_undo(arch, tied, tiny_model, tiny_tokenizer):
    """Without shrinking the student begins at the teacher, which is then what the model was."""
    world = World(tiny_model(arch, tied), tiny_tokenizer)

    def formula(now, then):
        return mean(kl(world.p(then, e), world.p(now, e)) for e in RETAIN)

    given = {"first": "jang", "first_options": {"until": None, "steps": 1, "lr": 0.0}}
    agree(world, "undo", formula, shrink=0.0, seed=0, size=0.05, **given)


def test_the_student_is_a_shrunk_and_noised_teacher(trained):
    """The teacher is where `first` ends; nothing is distilled at a rate of 0."""
    start = trained.weights()
    result = trained.apply("grad_diff", **FIRST)
    teacher = trained.weights()
    result.revert()
    result = trained.apply("undo", first_options=FIRST, shrink=0.3, noise=0.5, steps=1, lr=0.0)
    student = trained.weights()
    result.revert()
    assert same(trained.weights(), start)
    for name, tensor in student.items():
        noise = (tensor - 0.7 * teacher[name]) / (0.3 * 0.5)
        if tensor.dim() == 1:
            assert noise.abs().max() < 1e-5
        else:
            bound = math.sqrt(6 / sum(tensor.shape))  # Xavier's
            assert noise.abs().max() <= bound * 1.001
            assert noise.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)


def test_distilling_brings_the_student_back_towards_the_teacher(trained):
    losses = [s.told["loss"] for s in trained.path("undo", first_options=FIRST, steps=[1, 30], lr=3e-3)]
    assert 0 < losses[1] < 0.5 * losses[0]


@pytest.mark.parametrize("first", ["first_epoch", "gradient_ascent", "undo", "nobody"])
def test_the_first_method_must_be_trained(first, trained):
    start = trained.weights()
    with pytest.raises(MethodError, match=f"first= is another trained method, not '{first}'"):
        trained.apply("undo", first=first)
    assert same(trained.weights(), start)
