"""Staged orders and layers that alone move: what is trained when, and that the ledger still holds exactly."""

import dataclasses
import json
from collections import Counter

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient, same, weights_of

from unlearnkit import layers, ledger, training, unlearning
from unlearnkit.errors import ConfigError, LedgerError, RequestError
from unlearnkit.ledger import wholeness
from unlearnkit.training import Recipe

STAGED = (IDS[1], IDS[4], IDS[5])
RECIPE = Recipe(epochs=4, lr=0.05, batch_size=2, order="first", staged=STAGED)
THEIRS = {"first": (1, 2), "last": (3, 4), "spread": (1, 3)}  # epochs
ORDERS = pytest.mark.parametrize("order", THEIRS)


def ordered(order, **more):
    return dataclasses.replace(RECIPE, order=order, **more)


@pytest.fixture
def run(train, tiny_model, tmp_path):
    """`run(recipe, exclude=)`: (theta_0, theta_T, order of steps, ledger)."""

    def go(recipe, **options):
        folder = tmp_path / f"l{len(list(tmp_path.iterdir()))}"
        end, told = train(recipe, ledger=folder, ledger_dtype="float32", **options)
        return weights_of(tiny_model()), end, told.order, ledger.GradientLedger.open(folder)

    return go


@ORDERS
def test_each_group_has_epochs_of_its_own(order):
    epochs = training.schedule(IDS, ordered(order))
    for number, steps in enumerate(epochs, start=1):
        here = sorted(i for step in steps for i in step)
        assert here == sorted(i for i in IDS if (i in STAGED) == (number in THEIRS[order]))


def test_orders_differ_in_the_order_of_the_same_batches_alone():
    steps = [Counter(step for epoch in training.schedule(IDS, ordered(o)) for step in epoch) for o in THEIRS]
    assert steps[0] == steps[1] == steps[2]
    first, last = (training.schedule(IDS, ordered(o)) for o in ("first", "last"))
    assert first[:2] == last[2:]
    assert first[2:] == last[:2]
    assert first[0] != first[1]  # an epoch has its own order


@ORDERS
def test_a_linear_rate_falls_over_all_steps_though_epochs_differ_in_length(order, train, monkeypatch):
    seen, recipe = [], ordered(order, lr_schedule="linear")
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: seen.append(self.param_groups[0]["lr"]))
    train(recipe)
    assert seen == [recipe.rate(k, 8) for k in range(8)]  # twice 2 steps of three, twice 2 of four


@ORDERS
def test_the_ledger_rewinds_a_staged_training(order, run):
    start, end, _, book = run(ordered(order))
    total = book.sum(book.example_ids, "all")
    for name, before in start.items():
        moved = before - end[name]
        assert (moved - RECIPE.lr * total[name]).norm() <= 1e-4 * moved.norm() + 1e-7, name
    book.verify()


@ORDERS
def test_the_oracle_keeps_the_others_steps(order, train):
    (_, whole), (_, oracle) = train(ordered(order)), train(ordered(order), exclude=STAGED)
    assert oracle.order == [step for step in whole.order if not set(step) & set(STAGED)]


@ORDERS
def test_first_and_all_are_each_example_s_own_epochs(order, run):
    *_, book = run(ordered(order))
    theirs = THEIRS[order]
    others = [e for e in (1, 2, 3, 4) if e not in theirs]
    assert {e for i, e in book.where if i in STAGED} == set(theirs)
    assert same(book.sum(STAGED, "first"), book.sum(STAGED, theirs[:1]))
    assert same(book.sum(STAGED, "all"), book.sum(STAGED, theirs))
    mixed = [STAGED[0], IDS[0]]
    by_hand = [book.sum(mixed[:1], theirs[:1]), book.sum(mixed[1:], others[:1])]
    for name, total in book.sum(mixed, "first").items():
        assert torch.allclose(total, by_hand[0][name] + by_hand[1][name], atol=1e-7), name
    with pytest.raises(LedgerError, match=f"lacks example '{IDS[0]}' in epoch {theirs[0]}"):
        book.sum(mixed, theirs[:1])


def test_together_the_first_epoch_is_number_one(run):
    *_, book = run(Recipe(epochs=2, lr=0.05, batch_size=2))
    assert same(book.sum(IDS, "first"), book.sum(IDS, (1,)))
    book.reader.where.pop((IDS[0], 1))
    with pytest.raises(LedgerError, match="lacks example"):
        book.sum(IDS, "first")


def test_methods_replay_the_epochs_in_which_the_request_was_learnt(run, tiny_model):
    recipe = ordered("last", optimizer="adamw", lr=2e-3)
    *_, end, _, book = run(recipe)
    model = tiny_model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(end[name])
    for method, direction in (
        ("first_epoch", book.sum(STAGED, (3,))),
        ("all_epochs", book.sum(STAGED, (3, 4))),
        ("adam_replay", _adam(book, (3, 4))),
    ):
        result = unlearning.apply(method, model, request=list(STAGED), ledger=book, alpha=0.5)
        for name, parameter in model.named_parameters():
            assert torch.allclose(parameter, end[name] + 0.5 * direction[name], atol=1e-6), (method, name)
        result.revert()


@pytest.fixture
def learnt(run, tiny_model, tmp_path):
    """`learnt(order)`: the model that AdamW trained in that order, its ledger, and its history."""

    def go(order):
        *_, end, _, book = run(ordered(order, optimizer="adamw", lr=2e-3), history=tmp_path / "history")
        model = tiny_model()
        model.load_state_dict(end, strict=False)
        return model, book, training.History.open(tmp_path / "history")

    return go


def moved(method, model, alpha=1.0, **given):
    """What a method adds to the weights."""
    before = weights_of(model)
    result = unlearning.apply(method, model, request=list(STAGED), alpha=alpha, **given)
    added = {n: t - before[n] for n, t in weights_of(model).items()}
    result.revert()
    return added


def near(ours, theirs):
    return all(torch.allclose(ours[n], t, rtol=1e-3, atol=1e-6) for n, t in theirs.items())


@ORDERS
def test_methods_on_factors_read_each_examples_own_epochs(order, learnt):
    """As those that are told which these are, of the request and of the others."""
    model, book, _ = learnt(order)
    theirs = THEIRS[order]
    others = [e for e in (1, 2, 3, 4) if e not in theirs]
    for method in ("kfac_replay", "repselect"):
        told = {"epochs": theirs, "curvature": others}
        assert same(moved(method, model, ledger=book), moved(method, model, ledger=book, **told)), method
    told = {"epochs": theirs, "spans": (others,)}
    assert same(
        moved("projected_replay", model, 1e-3, ledger=book),
        moved("projected_replay", model, 1e-3, ledger=book, **told),
    )
    assert near(moved("adam_replay", model, ledger=book), _adam(book, theirs))


@ORDERS
def test_epochs_in_which_the_request_was_not_trained_on_are_refused_by_name(order, learnt):
    model, book, _ = learnt(order)
    other = next(e for e in (1, 2, 3, 4) if e not in THEIRS[order])
    for method in ("adam_replay", "kfac_replay", "repselect", "projected_replay"):
        with pytest.raises(LedgerError, match=f"lacks example 'f1' in epoch {other}: staged, .*all"):
            moved(method, model, ledger=book, epochs=other)


@ORDERS
def test_the_first_epoch_of_controls_and_rounds_is_each_examples_own(order, learnt):
    model, book, _ = learnt(order)
    first = book.sum(STAGED, THEIRS[order][:1])
    everybody = {"known": lambda _: True, "ledger": book}
    assert near(moved("iterative", model, 0.5, **everybody), {n: 0.5 * g for n, g in first.items()})
    length = sum(g.square().sum() for g in first.values()).sqrt()
    other = [i for i in IDS if i not in STAGED][:2]
    theirs = book.sum(other, "first")
    scale = length / sum(g.square().sum() for g in theirs.values()).sqrt()
    found = moved("wrong_person", model, ledger=book, others=other)
    assert near(found, {n: scale * g for n, g in theirs.items()})


@ORDERS
def test_a_staged_fact_was_seen_in_half_of_the_epochs(order, learnt, tiny_model, tiny_tokenizer):
    """E = 2: in every epoch's stead stand as many as there were."""
    model, book, history = learnt(order)
    first = book.sum(STAGED, "first")
    assert near(moved("first_epoch_times_E", model, ledger=book), {n: 2 * g for n, g in first.items()})
    given = {"checkpoints": history, "examples": FACTS, "tokenizer": tiny_tokenizer}
    found = moved("thudi", model, 1e-3, **given)
    asked = [e for e in FACTS if e.id in STAGED]
    start = [
        autograd_gradient(tiny_model(), tiny_tokenizer, e, RECIPE.loss_on, RECIPE.batch_size) for e in asked
    ]
    assert near(found, {n: 2e-3 * sum(g[n] for g in start) for n in found})


def _adam(book, epochs):
    """The updates of these epochs, from the ledger's sums and moments."""
    found = {}
    for epoch in epochs:
        total, rate = book.sum(STAGED, (epoch,)), book.mean_rate(epoch)
        for name, moment in book.second_moment(epoch):
            found[name] = found.get(name, 0.0) + rate * total[name] / (moment.sqrt() + 1e-8)
    return found


def test_a_staged_ledger_that_lacks_a_record_is_not_whole(run):
    *_, book = run(ordered("spread"))
    wholeness.require(book.reader)
    book.reader.where.pop((STAGED[0], 3))
    with pytest.raises(LedgerError, match=f"has example '{STAGED[0]}' in 1 of 4 epochs"):
        wholeness.require(book.reader)


def test_a_ledger_tells_of_what_is_not_usual_and_names_no_staged_example(run):
    usual = Recipe(epochs=4).described()
    assert not {"order", "staged", "layers"} & set(usual)  # so that older ledgers resume
    *_, book = run(ordered("last", layers=("embedding",)))
    assert book.recipe["order"] == "last"
    assert book.recipe["layers"] == ["embedding"]
    assert not [i for i in STAGED if f'"{i}"' in json.dumps(book.recipe)]


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_layers_that_do_not_move_are_recorded_too(optimizer, run, tiny_model):
    recipe = Recipe(optimizer, epochs=2, lr=0.01, batch_size=3, layers=("block.0", "norm.final"))
    start, end, _, book = run(recipe)
    moving = set(layers.parameters(tiny_model(), recipe.layers))
    assert {n for n in start if not torch.equal(start[n], end[n])} == moving
    total = book.sum(IDS, "all")
    assert set(total) == set(start)
    assert all(g.norm() > 0 for g in total.values())
    if optimizer == "sgd":
        for name in moving:
            moved = start[name] - end[name]
            assert (moved - recipe.lr * total[name]).norm() <= 1e-4 * moved.norm() + 1e-7, name


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"order": "early"}, "Recipe.order='early': use one of"),
        ({"order": "last", "staged": ()}, "Recipe.staged=.*: use a tuple of ids"),
        ({"order": "together"}, "Recipe.staged=.*: use a tuple of ids"),
        ({"epochs": 3}, "Recipe.epochs=3: order='first' needs an even number"),
        ({"layers": "embedding"}, "Recipe.layers='embedding': use a tuple"),
    ],
)
def test_bad_stages_are_refused(given, match):
    with pytest.raises(ConfigError, match=match):
        dataclasses.replace(RECIPE, **given)


def test_unknown_staged_examples_are_named(train):
    with pytest.raises(RequestError, match="Recipe.staged= names unknown examples: 'nobody'"):
        train(dataclasses.replace(RECIPE, staged=("nobody",)), examples=FACTS)
