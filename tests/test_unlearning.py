"""Unlearning: one signature, exact reversal, what each method adds, refusals."""

import gc
import math

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient

from unlearnkit import ledger, training, unlearning
from unlearnkit.errors import DivergenceError, LayerError, LedgerError, MethodError, RequestError
from unlearnkit.unlearning import controls
from unlearnkit.unlearning.core import length

REQUEST, OTHERS = IDS[:3], tuple(IDS[3:5])
RECIPE = training.Recipe(epochs=3, lr=0.05, batch_size=3)
OPTIONS = {"wrong_person": {"others": OTHERS}, "single_epoch": {"epoch": 2}}
REPLAY = ("first_epoch", "all_epochs", "single_epoch", "first_epoch_times_E")
LEDGER_METHODS = [n for n, m in unlearning.METHODS.items() if m.needs == ("ledger",)]
WALKABLE = [n for n, m in unlearning.METHODS.items() if not m.fresh and m.needs in ((), ("ledger",))]


class Trained:
    """A fine-tuned tiny model, its ledger, and short ways to ask."""

    def __init__(self, model, tokenizer, folder):
        self.model, self.tokenizer = model, tokenizer
        training.fine_tune(
            model, tokenizer, FACTS, RECIPE, ledger=folder, ledger_dtype="float32", progress=False
        )
        self.book = ledger.GradientLedger.open(folder, model)

    def steepen(self, folder):
        """Gradients 1,000 times as large, so that alpha = 1e38 leaves float32's range."""
        self.book = ledger.record(self.model, self.tokenizer, FACTS, folder, divisor=1e-3)

    def inputs(self, name, **changes):
        given = {
            "request": REQUEST,
            "ledger": self.book,
            "examples": FACTS,
            "tokenizer": self.tokenizer,
            **OPTIONS.get(name, {}),
        }
        return {**given, **changes}

    def apply(self, name, **changes):
        return unlearning.apply(name, self.model, **self.inputs(name, **changes))

    def path(self, name, **changes):
        return unlearning.path(name, self.model, **self.inputs(name, **changes))

    def weights(self):
        return {n: p.detach().clone() for n, p in self.model.named_parameters()}

    def direction(self, name, **changes):
        """What alpha = 1 adds, by parameter."""
        before = self.weights()
        result = self.apply(name, **{"alpha": 1.0, **changes})
        added = {n: t - before[n] for n, t in self.weights().items()}
        result.revert()
        return added


@pytest.fixture
def trained(tiny_model, tiny_tokenizer, tmp_path):
    return Trained(tiny_model("gpt2"), tiny_tokenizer, tmp_path / "l")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def norm_of(direction):
    return math.sqrt(sum(g.double().square().sum().item() for g in direction.values()))


def error(ours, theirs):
    """Relative to the whole direction, since parts of it may be near zero."""
    return norm_of({n: ours[n] - theirs[n] for n in theirs}) / norm_of(theirs)


# -- reversal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_every_method_reverts_bit_for_bit(arch, tiny_model, tiny_tokenizer, tmp_path):
    trained = Trained(tiny_model(arch), tiny_tokenizer, tmp_path / "l")
    before = trained.weights()
    selections = ("all", "embedding", ["block.1", "norms"])
    for name, layers in [(name, s) for name in unlearning.METHODS for s in selections]:
        result = trained.apply(name, alpha=0.37, layers=layers)
        assert (name == "noop") == same(trained.weights(), before), name
        assert result.method == name
        assert result.alpha == 0.37
        assert (result.norm > 0) == (name != "noop")
        result.revert()
        assert same(trained.weights(), before), name


def test_results_revert_in_any_order(trained):
    """Each result restores what its own call found."""
    start = trained.weights()
    first = trained.apply("first_epoch", alpha=0.1)
    between = trained.weights()
    second = trained.apply("all_epochs", alpha=-0.2, layers="last2")
    second.revert()
    assert same(trained.weights(), between)
    first.revert()
    first.revert()
    assert same(trained.weights(), start)


def test_originals_leave_no_file_behind(trained, runs, tmp_path):
    originals = runs / "originals"
    result = trained.apply("first_epoch", alpha=0.1)
    (kept,) = originals.iterdir()
    assert kept.suffix == ".safetensors"
    del result
    gc.collect()
    assert list(originals.iterdir()) == []
    list(trained.path("first_epoch", alphas=[0.1, 0.2]))
    trained.steepen(tmp_path / "steep")
    with pytest.raises(DivergenceError):
        trained.apply("first_epoch", alpha=1e38)
    gc.collect()
    assert list(originals.iterdir()) == []


@pytest.mark.parametrize(
    "layers", ["embedding.input", "embedding.output", "position", "block.1", "last2", "norm.final", "norms"]
)
@pytest.mark.parametrize("name", ["all_epochs", "random_direction", "random_subset", "gradient_ascent"])
def test_only_the_named_layers_move(name, layers, trained):
    before = trained.weights()
    result = trained.apply(name, alpha=0.5, layers=layers)
    moved = {n for n, t in trained.weights().items() if not torch.equal(t, before[n])}
    named = {
        "embedding.input": {"transformer.wte.weight"},
        "embedding.output": {"transformer.wte.weight"},
        "position": {"transformer.wpe.weight"},
        "block.1": {n for n in before if n.startswith("transformer.h.1.")},
        "last2": {n for n in before if n.startswith(("transformer.h.1.", "transformer.h.2."))},
        "norm.final": {"transformer.ln_f.weight", "transformer.ln_f.bias"},
        "norms": {n for n in before if ".ln_" in n},
    }[layers]
    assert moved == named == set(result.touched)


# -- what is added ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_first_epoch_at_the_rate_adds_the_dense_sum(arch, tiny_model, tiny_tokenizer, tmp_path):
    """B = 8 > 7 examples: the first epoch is one step, its gradients are theta_0's by plain autograd."""
    model = tiny_model(arch)
    recipe = training.Recipe(epochs=2, lr=0.05, batch_size=8)
    dense = [autograd_gradient(model, tiny_tokenizer, e, "text", divisor=8) for e in FACTS[:3]]
    training.fine_tune(
        model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", ledger_dtype="float32", progress=False
    )
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    result = unlearning.apply("first_epoch", model, request=REQUEST, ledger=book, alpha=recipe.lr)
    expected = {n: recipe.lr * sum(d[n] for d in dense) for n in dense[0]}
    added = {n: p.detach() - before[n] for n, p in model.named_parameters()}
    assert error(added, expected) < 1e-4
    assert result.norm == pytest.approx(norm_of(expected), rel=1e-4)


def test_replay_methods_add_what_they_say(trained):
    book = trained.book
    first, second, every = (book.sum(REQUEST, e) for e in (1, 2, "all"))
    assert error(trained.direction("first_epoch"), first) < 1e-5
    assert error(trained.direction("single_epoch"), second) < 1e-5
    assert error(trained.direction("single_epoch", epoch=1), first) < 1e-5
    assert error(trained.direction("all_epochs"), every) < 1e-5
    tripled = {n: 3 * g for n, g in first.items()}
    assert error(trained.direction("first_epoch_times_E"), tripled) < 1e-5
    assert error(every, tripled) > 0.01  # the arms differ


def test_a_request_is_a_set(trained):
    once = trained.direction("first_epoch", request=["f1", "f2"])
    assert same(trained.direction("first_epoch", request=["f1", "f2", "f1"]), once)
    assert same(trained.direction("first_epoch", request=(i for i in ("f1", "f2"))), once)
    alone = trained.direction("first_epoch", request="f1")
    assert same(alone, trained.direction("first_epoch", request=["f1"]))
    iterable = trained.direction("first_epoch", layers=(n for n in ("block.0", "block.2")))
    assert same(iterable, trained.direction("first_epoch", layers=["block.0", "block.2"]))


@pytest.mark.parametrize("name", [n for n in unlearning.METHODS if n != "noop"])
def test_norm_is_the_length_of_the_step(name, trained):
    for norm in (0.25, 3.0):
        before = trained.weights()
        result = trained.apply(name, norm=norm, layers="all-but-embedding")
        moved = norm_of({n: t - before[n] for n, t in trained.weights().items()})
        result.revert()
        assert moved == pytest.approx(norm, rel=1e-4)
        assert result.norm == pytest.approx(norm, rel=1e-5)
        assert result.alpha > 0


@pytest.mark.parametrize("layers", ["all", "embedding", "embedding.input", "last2", "norms"])
def test_controls_are_as_long_as_the_reference(layers, trained):
    reference = norm_of(trained.book.sum(REQUEST, 1, layers))
    for name in ("random_direction", "random_subset", "wrong_person"):
        result = trained.apply(name, alpha=1.0, layers=layers)
        result.revert()
        assert result.norm == pytest.approx(reference, rel=1e-4), name


def test_a_random_direction_is_as_long_in_every_parameter(trained):
    reference, noise = trained.book.sum(REQUEST), trained.direction("random_direction")
    for name, gradient in reference.items():
        if gradient.norm() > 1e-3:  # below that the subtraction of weights is all rounding
            assert noise[name].norm() == pytest.approx(gradient.norm().item(), rel=1e-2)
            cosine = torch.nn.functional.cosine_similarity(noise[name].flatten(), gradient.flatten(), dim=0)
            assert abs(cosine) < 0.9
    assert same(trained.direction("random_direction", seed=0), noise)
    assert error(trained.direction("random_direction", seed=1), noise) > 1


def test_wrong_person_points_along_somebody_else(trained):
    theirs, reference = trained.book.sum(OTHERS), trained.book.sum(REQUEST)
    scale = norm_of(reference) / norm_of(theirs)
    expected = {n: scale * g for n, g in theirs.items()}
    assert error(trained.direction("wrong_person"), expected) < 1e-4
    assert error(expected, reference) > 0.1


def test_random_subset_is_the_gradient_on_some_coordinates(trained):
    """As many as `like` has, drawn over the layers; each one the true value times one factor."""
    reference = trained.book.sum(REQUEST)
    options = controls.RandomSubset(like="last2", seed=4)
    inputs = unlearning.Inputs(trained.model, REQUEST, "all", trained.book, None, None)
    masked = dict(unlearning.METHODS["random_subset"].direction(inputs, options))
    flat = {n: (masked[n].flatten(), reference[n].flatten()) for n in reference}
    values, truth = (torch.cat([pair[k] for pair in flat.values()]) for k in (0, 1))
    nonzero = truth != 0
    kept = (values != 0) & nonzero
    share = sum(p.numel() for n, p in trained.model.named_parameters() if ".h.1." in n or ".h.2." in n)
    share /= sum(p.numel() for p in trained.model.parameters())
    assert kept.sum().item() / nonzero.sum().item() == pytest.approx(share, abs=0.03)
    factors = values[kept] / truth[kept]
    assert factors.std() / factors.mean() < 1e-4
    assert norm_of(masked) == pytest.approx(norm_of(reference), rel=1e-5)
    again = dict(unlearning.METHODS["random_subset"].direction(inputs, controls.RandomSubset("last2", 5)))
    assert not same(masked, again)


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


# -- walking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WALKABLE)
def test_points_of_a_path_are_those_of_apply(name, trained):
    start = trained.weights()
    alphas = [0.0, 0.5, -0.1, 0.5, 0.02]
    for alpha, point in zip(alphas, trained.path(name, alphas=alphas, layers="last2"), strict=True):
        here = trained.weights()
        assert point.alpha == alpha
        for n, tensor in start.items():  # apply from the start gives the same point
            trained.model.get_parameter(n).data.copy_(tensor)
        single = trained.apply(name, alpha=alpha, layers="last2")
        assert same(trained.weights(), here)
        assert single.norm == pytest.approx(point.norm)
    assert same(trained.weights(), start)


def test_a_path_of_step_lengths(trained):
    start = trained.weights()
    for norm, point in zip((0.1, 2.0), trained.path("all_epochs", norms=(0.1, 2.0)), strict=True):
        assert point.norm == pytest.approx(norm, rel=1e-5)
        moved = norm_of({n: t - start[n] for n, t in trained.weights().items()})
        assert moved == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("end", ["break", "close", "error", "divergence"])
def test_a_path_left_early_restores_the_weights(end, trained, tmp_path):
    trained.steepen(tmp_path / "steep")
    start = trained.weights()
    walk = trained.path("first_epoch", alphas=[0.5, 1e38 if end == "divergence" else 1.0, 2.0])
    next(walk)
    assert not same(trained.weights(), start)
    if end == "close":
        walk.close()
    elif end == "break":
        del walk
    else:
        expected = DivergenceError if end == "divergence" else KeyboardInterrupt
        with pytest.raises(expected):
            next(walk) if end == "divergence" else walk.throw(KeyboardInterrupt)
    gc.collect()
    assert same(trained.weights(), start)


# -- refusals ---------------------------------------------------------------------------------------------


def refused(trained, error, match, name="first_epoch", **changes):
    before = trained.weights()
    with pytest.raises(error, match=match):
        trained.apply(name, **{"alpha": 0.1, **changes})
    assert same(trained.weights(), before)


def test_unknown_names_suggest_the_nearest(trained):
    refused(trained, MethodError, "'frist_epoch' is unknown. Did you mean 'first_epoch'", "frist_epoch")
    refused(trained, MethodError, "'zzz' is unknown. Known: first_epoch, all_epochs", "zzz")
    refused(trained, MethodError, "'first_epoch' has no option 'steps'; it has: none", steps=2)
    refused(trained, MethodError, "has no option 'epochs'; it has: epoch", "single_epoch", epochs=2)
    refused(trained, LayerError, "'embeding'.* did you mean 'embedding'", layers="embeding")
    refused(trained, LayerError, "'block.3': this model has blocks 0 to 2", layers="block.3")
    refused(trained, LayerError, "selection is empty", layers=[])


def test_missing_and_contradictory_inputs(trained):
    refused(trained, MethodError, "needs ledger=", ledger=None)
    refused(trained, MethodError, "needs examples=", "gradient_ascent", examples=None)
    refused(trained, MethodError, "needs tokenizer=", "gradient_ascent", tokenizer=None)
    refused(trained, RequestError, "request is empty", request=[])
    refused(trained, RequestError, "'nobody'", request=["f1", "nobody"], examples=None)
    refused(trained, RequestError, "not among examples=.*'nobody'", request=["f1", "nobody"])
    refused(trained, MethodError, "exactly one of alpha", alpha=None)
    refused(trained, MethodError, "exactly one of alpha", norm=1.0)
    for value in (float("nan"), float("inf"), -float("inf"), 1e39):
        refused(trained, MethodError, "must be finite", alpha=value)
        refused(trained, MethodError, "must be finite", alpha=None, norm=value)
    refused(trained, MethodError, "needs others=", "wrong_person", others=())
    refused(trained, MethodError, r"share \['f1'\]", "wrong_person", others=("f1", "f5"))
    refused(trained, LedgerError, "epoch 4 is not in ledger", "single_epoch", epoch=4)
    refused(trained, MethodError, "zero direction", "noop", alpha=None, norm=1.0)


def test_refusals_of_a_path(trained):
    before = trained.weights()
    for match, changes in (
        ("exactly one of alphas= and norms=", {}),
        ("exactly one of alphas= and norms=", {"alphas": [1.0], "norms": [1.0]}),
        ("must be finite", {"alphas": [0.1, float("nan")]}),
        ("must be finite", {"norms": [float("inf")]}),
    ):
        with pytest.raises(MethodError, match=match):
            next(trained.path("first_epoch", **changes))
    with pytest.raises(MethodError, match="no fixed direction"):
        next(trained.path("gradient_ascent", alphas=[1.0]))
    assert same(trained.weights(), before)


@pytest.mark.parametrize("name", [n for n in unlearning.METHODS if n != "noop"])
def test_divergence_restores_the_weights(name, trained, tmp_path):
    trained.steepen(tmp_path / "steep")
    options = {"single_epoch": {"epoch": 1}, "gradient_ascent": {"steps": 3, "divisor": 1e-3}}.get(name, {})
    before = trained.weights()
    with pytest.raises(DivergenceError, match=r"is not finite at alpha=1e\+38; the weights were restored"):
        trained.apply(name, alpha=1e38, **options)
    assert same(trained.weights(), before)


def test_length_is_that_of_the_whole_direction(trained):
    assert length(trained.book.stream(REQUEST)) == pytest.approx(norm_of(trained.book.sum(REQUEST)))


@pytest.mark.parametrize("name", ["random_direction", "random_subset", "wrong_person"])
@pytest.mark.parametrize("how", [{"alpha": 0.1}, {"alpha": None, "norm": 1.0}])
def test_controls_have_no_zero_gradient_to_match(name, how, trained, tiny_tokenizer, tmp_path):
    trained.book = ledger.record(trained.model, tiny_tokenizer, FACTS, tmp_path / "flat", divisor=math.inf)
    match = f"'{name}': the request's first-epoch gradient is zero on layers 'norms'.* Name other layers"
    refused(trained, MethodError, match, name, layers="norms", **how)


def test_controls_with_nothing_left_to_scale(trained, monkeypatch):
    """Somebody else without a gradient, and a random subset of no coordinate."""
    stream = trained.book.stream
    monkeypatch.setattr(
        trained.book, "stream", lambda ids, *a: ((n, g * (ids != OTHERS)) for n, g in stream(ids, *a))
    )
    refused(
        trained, MethodError, "'wrong_person': the others='s first-epoch gradient is zero", "wrong_person"
    )
    sizes = {n: 0 if ".ln_f." in n else p.numel() for n, p in trained.model.named_parameters()}
    monkeypatch.setattr(trained.book, "parameter_sizes", lambda: sizes)
    refused(trained, MethodError, "the randomly masked", "random_subset", like="norm.final")
