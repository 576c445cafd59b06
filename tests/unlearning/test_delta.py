"""Changes add up, come off again, and fit only the model that they are of."""

import gc

import pytest
import torch
from unlearning_helpers import IDS, OTHERS, REQUEST, error, norm_of, same

from unlearnkit import unlearning
from unlearnkit.errors import DivergenceError, LedgerError, MethodError
from unlearnkit.ledger import GradientLedger

LAYERS = {"a": "all", "b": "last2", "c": "embedding"}
ASKED = {"a": REQUEST, "b": OTHERS, "c": IDS[5:]}


def forgotten(trained, name):
    """One of the requests, carried out."""
    given = {"request": ASKED[name], "retain": None, "layers": LAYERS[name]}
    return trained.apply("first_epoch", **given, alpha=0.1)


@pytest.fixture
def deltas(trained):
    """Three requests' changes, on overlapping layers, each from theta_T."""
    found = {}
    for name in LAYERS:
        result = forgotten(trained, name)
        found[name] = result.delta()
        result.revert()
    return found


def added(trained, delta):
    """What a delta adds to the weights; they are put back."""
    before = trained.weights()
    originals = delta.apply_to(trained.model)
    change = {n: t - before[n] for n, t in trained.weights().items()}
    originals.restore()
    assert same(trained.weights(), before)
    return change


def test_a_sum_is_one_request_after_the_other(trained, deltas):
    before = trained.weights()
    results = [forgotten(trained, k) for k in "ab"]
    expected = {n: t - before[n] for n, t in trained.weights().items()}
    for result in results[::-1]:
        result.revert()
    assert error(added(trained, deltas["a"] + deltas["b"]), expected) < 1e-5


def test_one_request_is_withdrawn_and_the_other_stays(trained, deltas):
    alone = added(trained, deltas["b"])
    assert error(added(trained, deltas["a"] + deltas["b"] + -deltas["a"]), alone) < 1e-5
    before = trained.weights()
    both = (deltas["a"] + deltas["b"]).apply_to(trained.model)
    (-deltas["a"]).apply_to(trained.model)
    moved = {n: t - before[n] for n, t in trained.weights().items()}
    assert error(moved, alone) < 1e-5
    both.restore()
    assert same(trained.weights(), before)


def test_the_algebra_of_a_vector_space(trained, deltas):
    a, b, c = (deltas[k] for k in "abc")
    whole = added(trained, a + b + c)
    assert error(added(trained, a + (b + c)), whole) < 1e-6
    assert error(added(trained, c + a + b), whole) < 1e-5
    assert error(added(trained, 2 * (a + b)), added(trained, a * 2 + 2.0 * b)) < 1e-6
    assert error(added(trained, 0.5 * a), {n: t / 2 for n, t in added(trained, a).items()}) < 1e-4
    assert norm_of(added(trained, a + -a)) < 1e-5


def test_the_ledger_knows_the_model_after_a_delta(trained, deltas):
    deltas["a"].apply_to(trained.model)
    GradientLedger.open(trained.book.store.path, trained.model)
    trained.apply("first_epoch", alpha=0.1)
    with torch.no_grad():
        trained.model.transformer.ln_f.bias.add_(1)
    with pytest.raises(LedgerError, match="another GPT2LMHeadModel"):
        GradientLedger.open(trained.book.store.path, trained.model)


def test_every_point_of_a_path_has_its_delta(trained):
    found = [p.delta() for p in trained.path("first_epoch", alphas=[0.1, 0.2])]
    assert error(added(trained, found[1]), added(trained, 2 * found[0])) < 1e-4


def test_a_delta_is_asked_for_in_time(trained):
    result = trained.apply("first_epoch", alpha=0.1)
    trained.apply("all_epochs", alpha=0.1)
    with pytest.raises(MethodError, match="moved on since 'first_epoch'"):
        result.delta()


def test_other_models_are_refused(trained, deltas, tiny_model):
    with pytest.raises(MethodError, match=r"'transformer.wte.weight', which the model does not have"):
        deltas["a"].apply_to(tiny_model("llama"))
    wider = tiny_model("gpt2")
    wider.resize_token_embeddings(330)
    for act in (lambda: deltas["c"].apply_to(wider), lambda: deltas["c"] + of_another(wider)):
        with pytest.raises(
            MethodError, match=r"'transformer.wte.weight' has shape .*320, 16.* another model"
        ):
            act()


def of_another(model):
    return unlearning.apply("noop", model, request="f0", alpha=1.0).delta()


def test_divergence_restores_and_no_file_stays(trained, deltas, runs):
    before = trained.weights()
    large = trained.apply("first_epoch", alpha=50.0)
    huge = 3e38 * (deltas["a"] + large.delta())
    large.revert()
    with pytest.raises(DivergenceError, match="is not finite"):
        huge.apply_to(trained.model)
    assert same(trained.weights(), before)
    with pytest.raises(MethodError, match="must be finite"):
        (10.0 * huge).apply_to(trained.model)
    del large, huge
    deltas.clear()
    gc.collect()
    assert list((runs / "originals").iterdir()) == []


def in_sequence(trained, requests):
    """Each request carried out where the one before left the model; the deltas, the model at the end."""
    found = []
    for ids in requests:
        given = {"retain": None, "alpha": 0.1, "request": ids}
        found.append(trained.apply("first_epoch", **given).delta())
    return found


@pytest.mark.parametrize("withdrawn", range(4))
def test_of_requests_in_sequence_one_is_withdrawn(withdrawn, trained):
    """By its negative to rounding: each addition rounds a weight once, to half of its last place or less."""
    requests = [[i] for i in IDS[:4]]
    start, apart = trained.weights(), requests[:withdrawn] + requests[withdrawn + 1 :]
    in_sequence(trained, apart)
    others = trained.weights()
    back_to(trained, start)
    deltas = in_sequence(trained, requests)
    (-deltas[withdrawn]).apply_to(trained.model)
    largest = {n: t.abs().maximum(start[n].abs()) for n, t in others.items()}
    rounding = {n: 9 * torch.finfo(torch.float32).eps * t + 1e-12 for n, t in largest.items()}
    now = trained.weights()
    assert all(((now[n] - t).abs() <= rounding[n]).all() for n, t in others.items())
    assert error({n: now[n] - start[n] for n in now}, {n: t - start[n] for n, t in others.items()}) < 1e-5


@pytest.mark.parametrize("withdrawn", range(4))
def test_bit_for_bit_the_others_deltas_are_added_anew_from_the_start(withdrawn, trained):
    start = trained.weights()
    deltas = in_sequence(trained, [[i] for i in IDS[:4]])
    back_to(trained, start)
    apart = deltas[:withdrawn] + deltas[withdrawn + 1 :]
    for delta in apart:
        delta.apply_to(trained.model)
    expected = trained.weights()
    back_to(trained, start)
    whole = sum(deltas[1:], deltas[0]).apply_to(trained.model)
    whole.restore()
    assert same(trained.weights(), start)
    sum(apart[1:], apart[0]).apply_to(trained.model)
    assert same(trained.weights(), expected)


def test_what_a_later_request_did_where_it_stood_stays(trained):
    """Gradients that are taken anew are of the place: a withdrawal leaves what the others added there."""
    start = trained.weights()
    steps = [trained.apply("gradient_ascent", request=[i], alpha=0.1).delta() for i in IDS[:2]]
    (-steps[0]).apply_to(trained.model)
    left = {n: t - start[n] for n, t in trained.weights().items()}
    back_to(trained, start)
    assert error(left, added(trained, steps[1])) < 1e-5
    alone = trained.apply("gradient_ascent", request=[IDS[1]], alpha=0.1).delta()
    back_to(trained, start)
    assert error(left, added(trained, alone)) > 1e-4


def back_to(trained, start):
    with torch.no_grad():
        for name, parameter in trained.model.named_parameters():
            parameter.copy_(start[name])
