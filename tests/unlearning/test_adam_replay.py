"""AdamW's updates taken back: by hand over a whole training, and exactly after a single step."""

import pytest
import torch
from unlearning_helpers import FACTS, IDS, REQUEST, autograd_gradient, error

from unlearnkit import ledger, training, unlearning
from unlearnkit.errors import LedgerError, MethodError

HALF = 2**-9  # bf16 keeps 8 bits of v: it is at most this share off, its root half as much
RECIPE = training.Recipe("adamw", epochs=3, lr=2e-3, batch_size=3, lr_schedule="linear")
BLOCK = "transformer.h.1.mlp.c_fc.bias"


def fine_tuned(model, tokenizer, recipe, folder):
    run = training.fine_tune(
        model, tokenizer, FACTS, recipe, ledger=folder, ledger_dtype="float32", progress=False
    )
    return run, ledger.GradientLedger.open(folder, model)


def by_hand(model, tokenizer, order, epochs):
    """AdamW of one block in float64, by its textbook form, one example's gradient at a time.

    Per epoch of the recipe: mean rate, sum of the request's gradients, v_hat at its end.
    """
    weight, (beta_1, beta_2) = model.get_parameter(BLOCK), (0.9, 0.999)
    m = v = torch.zeros_like(weight, dtype=torch.float64)
    told, per_epoch = [], len(order) // RECIPE.epochs
    for number, ids in enumerate(order):
        if number % per_epoch == 0:
            rates, total = [], torch.zeros_like(m)
        found = {
            i: autograd_gradient(model, tokenizer, FACTS[IDS.index(i)], "text", 3)[BLOCK].double()
            for i in ids
        }
        g, t = sum(found.values()), number + 1
        total += sum((found[i] for i in ids if i in REQUEST), torch.zeros_like(m))
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        rate = RECIPE.lr * min(1.0, t / (0.07 * len(order))) * (1 - number / len(order))
        rates.append(rate)
        step = rate * (m / (1 - beta_1**t)) / ((v / (1 - beta_2**t)).sqrt() + 1e-8)
        with torch.no_grad():
            weight -= step.float()
        if t % per_epoch == 0:
            told.append((sum(rates) / len(rates), total, v / (1 - beta_2**t)))
    return [told[e - 1] for e in epochs]


@pytest.mark.parametrize("epochs", [(1,), (2, 3), "all"])
def test_one_block_s_closed_form(epochs, tiny_model, tiny_tokenizer, tmp_path):
    """All but one block is frozen, so that AdamW by hand needs no more than that block's gradients."""
    recipe = training.Recipe(**{**vars(RECIPE), "frozen": tuple(_all_but(tiny_model("gpt2")))})
    run, book = fine_tuned(model := tiny_model("gpt2"), tiny_tokenizer, recipe, tmp_path / "l")
    other = tiny_model("gpt2")
    training.freeze(other, recipe)
    told = by_hand(other, tiny_tokenizer, run.order, (1, 2, 3) if epochs == "all" else epochs)
    expected = sum(rate * total / (v.sqrt() + 1e-8) for rate, total, v in told)
    before = model.get_parameter(BLOCK).detach().clone()
    unlearning.apply("adam_replay", model, request=REQUEST, ledger=book, epochs=epochs, alpha=1.0)
    added = model.get_parameter(BLOCK).detach() - before
    assert error({BLOCK: added}, {BLOCK: expected.float()}) < HALF


@pytest.mark.parametrize("name", ["adam_replay", "projected_replay"])
def test_layers_that_the_training_left_alone_are_left_alone(name, tiny_model, tiny_tokenizer, tmp_path):
    recipe = training.Recipe(**{**vars(RECIPE), "layers": ("block.1",)})
    _, book = fine_tuned(model := tiny_model("gpt2"), tiny_tokenizer, recipe, tmp_path / "l")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    unlearning.apply(name, model, request=REQUEST, ledger=book, norm=0.1)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert all(n.startswith("transformer.h.1.") for n in moved)


def _all_but(model):
    return [name for name, _ in model.named_parameters() if name != BLOCK]


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_all_examples_undo_a_first_step(arch, tiny_model, tiny_tokenizer, tmp_path):
    """There m_hat = g and v_hat = g^2, so that the update was lr * g / (|g| + eps), tied matrix included."""
    model = tiny_model(arch)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradient = dict.fromkeys(start, 0.0)
    for example in FACTS:
        own = autograd_gradient(model, tiny_tokenizer, example, "text", 8)
        gradient = {n: gradient[n] + own.get(n, torch.zeros_like(start[n])) for n in start}
    recipe = training.Recipe("adamw", epochs=1, lr=1e-2, batch_size=8)
    _, book = fine_tuned(model, tiny_tokenizer, recipe, tmp_path / "l")
    moved = {n: p.detach() - start[n] for n, p in model.named_parameters()}
    update = {n: -recipe.lr * g / (g.abs() + 1e-8) for n, g in gradient.items()}
    assert error(moved, update) < 1e-2  # it was that: the smallest gradients are rounding
    unlearning.apply("adam_replay", model, request=IDS, ledger=book, alpha=1.0)
    largest = max(g.abs().max() for g in gradient.values())
    clear = {n: g.abs() > 1e-3 * largest for n, g in gradient.items()}  # of float32's rounding
    assert sum(c.sum() for c in clear.values()) > 0.5 * sum(c.numel() for c in clear.values())
    for name, parameter in model.named_parameters():
        left = (parameter.detach() - start[name]).abs()[clear[name]]
        assert (left <= recipe.lr * HALF).all(), name


def test_the_two_roles_of_a_tied_matrix_share_one_moment(trained):
    both = trained.direction("adam_replay", layers="embedding")
    parts = [trained.direction("adam_replay", layers=f"embedding.{role}") for role in ("input", "output")]
    assert error({n: parts[0][n] + parts[1][n] for n in both}, both) < 1e-4


def test_epochs_add_up(trained):
    each = [trained.direction("adam_replay", epochs=(e,)) for e in (1, 2, 3)]
    whole = trained.direction("adam_replay")
    assert error({n: sum(part[n] for part in each) for n in whole}, whole) < 1e-4
    assert error(each[0], each[2]) > 0.01


def test_what_it_cannot_do_is_refused(trained, tiny_model, tiny_tokenizer, tmp_path):
    with pytest.raises(LedgerError, match="epoch 4 is not in ledger"):
        trained.apply("adam_replay", alpha=1.0, epochs=(1, 4))
    with pytest.raises(MethodError, match="has no option 'epoch'"):
        trained.apply("adam_replay", alpha=1.0, epoch=1)
    model = tiny_model("gpt2")
    _, book = fine_tuned(model, tiny_tokenizer, training.Recipe(epochs=1, lr=0.05), tmp_path / "sgd")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with pytest.raises(LedgerError, match="made with sgd, and only AdamW has them"):
        unlearning.apply("adam_replay", model, request=REQUEST, ledger=book, alpha=1.0)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
