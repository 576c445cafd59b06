"""The frame: one signature, exact reversal, lengths, walks, refusals, the list of methods."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from unlearning_helpers import FACTS, REQUEST, Trained, error, norm_of, refused, same, strength

from unlearnkit import unlearning
from unlearnkit.errors import DivergenceError, LayerError, LedgerError, MethodError, RequestError
from unlearnkit.unlearning.frame import FAMILIES
from unlearnkit.unlearning.originals import length

SCALED = [n for n, m in unlearning.METHODS.items() if m.stops and n != "noop"]
WHOLE = ("certified_removal", "sisa")  # all layers or none
STEEP = [n for n in SCALED if unlearning.METHODS[n].needs == ("ledger",) or n == "gradient_ascent"]
STEEP = [n for n in STEEP if n not in ("projected_replay", "kfac_replay")]  # they divide by others' squares
LINES = [n for n, m in unlearning.METHODS.items() if "alphas" in m.stops and n != "iterative"]


# -- reversal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_every_method_reverts_bit_for_bit(arch, tiny_model, tiny_tokenizer, tmp_path):
    trained = Trained(tiny_model(arch), tiny_tokenizer, tmp_path / "l")
    before = trained.weights()
    selections = ("all", "embedding", ["block.1", "norms"])
    for name, layers in [(name, s) for name in unlearning.METHODS for s in selections]:
        if name in WHOLE and layers != "all":
            continue
        method = unlearning.METHODS[name]
        result = trained.apply(name, **strength(name, 0.37), layers=layers)
        still = name == "noop" or not method.moves
        assert still == same(trained.weights(), before), name
        assert result.method == name
        assert result.alpha == (0.37 if method.stops else None)
        assert (result.norm > 0) != still
        assert bool(result.originals.installed) == method.installs, name
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


def test_a_request_is_a_set(trained):
    once = trained.direction("first_epoch", request=["f1", "f2"])
    assert same(trained.direction("first_epoch", request=["f1", "f2", "f1"]), once)
    assert same(trained.direction("first_epoch", request=(i for i in ("f1", "f2"))), once)
    alone = trained.direction("first_epoch", request="f1")
    assert same(alone, trained.direction("first_epoch", request=["f1"]))
    iterable = trained.direction("first_epoch", layers=(n for n in ("block.0", "block.2")))
    assert same(iterable, trained.direction("first_epoch", layers=["block.0", "block.2"]))


@pytest.mark.parametrize("name", SCALED)
def test_norm_is_the_length_of_the_step(name, trained):
    for norm in (0.25, 3.0):
        before = trained.weights()
        result = trained.apply(name, norm=norm, layers="all-but-embedding")
        moved = norm_of({n: t - before[n] for n, t in trained.weights().items()})
        result.revert()
        assert moved == pytest.approx(norm, rel=1e-4)
        assert result.norm == pytest.approx(norm, rel=1e-5)
        assert result.alpha > 0


# -- walking ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINES)
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


@pytest.mark.parametrize("name", [n for n in LINES if n != "noop"])
def test_the_next_stop_may_be_chosen_by_what_was_seen(name, trained):
    """Halving towards a length from both sides; the places are those of `apply`, and the end the start."""
    start, low, high, seen = trained.weights(), 0.0, 2.0, {}

    def lengths():
        for _ in range(4):
            yield (low + high) / 2

    for point in trained.path(name, norms=lengths(), layers="last2"):
        seen[point.norm] = trained.weights()
        low, high = (point.norm, high) if point.norm < 0.7 else (low, point.norm)
    assert list(seen) == pytest.approx([1.0, 0.5, 0.75, 0.625], rel=1e-5)
    assert same(trained.weights(), start)
    for norm, there in seen.items():
        result = trained.apply(name, norm=norm, layers="last2")
        assert error(trained.weights(), there) < 1e-6
        result.revert()
    assert unlearning.METHODS[name].goes_back


def test_a_walk_that_cannot_go_back_asks_for_its_stops_one_by_one_too(trained):
    start, asked = trained.weights(), []

    def lengths():
        for length_ in (0.1, 0.3, 0.4):
            asked.append(length_)
            yield length_

    for name in ("gradient_ascent", "iterative"):
        asked.clear()
        counts = [len(asked) for _ in trained.path(name, norms=lengths())]
        assert counts == [1, 2, 3]
        assert not unlearning.METHODS[name].goes_back
    assert same(trained.weights(), start)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_stop_that_is_chosen_badly_restores_the_weights(bad, trained):
    start = trained.weights()
    walk = trained.path("first_epoch", norms=iter([0.1, bad]))
    next(walk)
    with pytest.raises(MethodError, match="must be finite"):
        next(walk)
    assert same(trained.weights(), start)


def test_dropout_is_off_on_the_way_and_every_mode_restored(trained):
    model = trained.model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    for _ in trained.path("first_epoch", alphas=(0.1, 0.2)):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes
    assert len(set(modes)) == 2


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


def test_unknown_names_suggest_the_nearest(trained):
    refused(trained, MethodError, "unknown method 'frist_epoch'; did you mean 'first_epoch'", "frist_epoch")
    refused(trained, MethodError, r"unknown method 'zzz' \(known: first_epoch, adam_replay,", "zzz")
    refused(trained, MethodError, "'first_epoch' has no option 'steps'; it has: none", steps=2)
    refused(trained, MethodError, "has no option 'epochs'; it has: epoch", "single_epoch", epochs=2)
    refused(trained, LayerError, "'embeding'.* did you mean 'embedding'", layers="embeding")
    refused(trained, LayerError, "'block.3': this model has blocks 0 to 2", layers="block.3")
    refused(trained, LayerError, "selection is empty", layers=[])
    for layers in (5, [5]):
        refused(trained, LayerError, "layers=.*: give a name, such as 'all', or names", layers=layers)
        with pytest.raises(LayerError, match="layers=.*: give a name, such as 'all', or names"):
            trained.book.sum(REQUEST, layers=layers)


def test_missing_and_contradictory_inputs(trained):
    refused(trained, MethodError, "needs ledger=", ledger=None)
    refused(trained, MethodError, "needs examples=", "gradient_ascent", examples=None)
    refused(trained, MethodError, "needs tokenizer=", "gradient_ascent", tokenizer=None)
    refused(trained, MethodError, "ledger='folder' is none: give what ledger.GradientLedger", ledger="folder")
    refused(trained, RequestError, "request is empty", request=[])
    refused(trained, RequestError, "'nobody'", request=["f1", "nobody"], examples=None)
    refused(trained, RequestError, "not among examples=.*'nobody'", request=["f1", "nobody"])
    refused(trained, MethodError, "exactly one of alpha", alpha=None)
    refused(trained, MethodError, "exactly one of alpha", norm=1.0)
    for value in (float("nan"), float("inf"), -float("inf"), 1e39, "x", [1]):
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


@pytest.mark.parametrize("name", STEEP)
def test_divergence_restores_the_weights(name, trained, tmp_path):
    trained.steepen(tmp_path / "steep")
    options = {"single_epoch": {"epoch": 1}, "gradient_ascent": {"steps": 3, "divisor": 1e-3}}.get(name, {})
    before = trained.weights()
    with pytest.raises(DivergenceError, match=r"is not finite at alpha=1e\+38; the weights were restored"):
        trained.apply(name, alpha=1e38, **options)
    assert same(trained.weights(), before)


def test_length_is_that_of_the_whole_direction(trained):
    assert length(trained.book.stream(REQUEST)) == pytest.approx(norm_of(trained.book.sum(REQUEST)))


# -- the list ---------------------------------------------------------------------------------------------


def test_listing_the_methods_imports_no_torch():
    """Planning a run lists them, and must not wait for seconds."""
    told = (
        "[(m.title, m.family, m.source, m.needs, m.version, m.options) for m in unlearning.METHODS.values()]"
    )
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys; from unlearnkit import unlearning; {told}; print({heavy})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_every_file_is_a_method_and_every_method_has_its_file():
    folder = Path(unlearning.methods.__file__).parent
    files = {p.stem for p in folder.glob("*.py")} - {"__init__"}
    own = {m.name.lower() for m in unlearning.METHODS.values() if m.module.startswith("unlearnkit.")}
    assert files == own
    assert next(iter(unlearning.METHODS)) == "first_epoch"
    families = [FAMILIES.index(m.family) for m in unlearning.METHODS.values()]
    assert families == sorted(families)


def test_options_are_the_functions_own_defaults():
    assert unlearning.METHODS["single_epoch"].options == {"epoch": 1}
    assert set(unlearning.METHODS["gradient_ascent"].options) == {"steps", "loss_on", "divisor", "batch_size"}
    assert unlearning.METHODS["noop"].options == {}


def test_the_model_is_looked_at_before_anything_is_done(trained):
    changes = {"alpha": None, "first": "rmu", "first_options": {"block": 3}}
    refused(trained, LayerError, "block=3: this model has blocks 0 to 2", "undo", **changes)
    refused(trained, LayerError, "block=3: this model has blocks 0 to 2", "rmu", alpha=None, block=3)
    parameter = "transformer.wte.weight"
    match = f"layer='{parameter}' is none of the parameters of layers 'block.1'"
    refused(trained, MethodError, match, "slug", layer=parameter, layers="block.1")


def test_bad_registrations_are_refused(own_methods):
    for match, said in (
        ("'magic' is none of paper, replay", {"family": "magic"}),
        ("'crystal' is none of ledger, examples", {"needs": ("crystal",)}),
    ):
        with pytest.raises(MethodError, match=match):
            unlearning.line(title="none", **said)(lambda inputs: iter(()))

    def noop(_inputs):
        return iter(())

    with pytest.raises(MethodError, match="'noop' is defined in unlearnkit.unlearning.methods.noop already"):
        unlearning.line(title="another")(noop)


def test_what_a_method_cannot_do_without_is_named(trained):
    options = {"request": REQUEST, "ledger": trained.book, "alpha": 0.1}
    with pytest.raises(MethodError, match="'iterative' needs known="):
        unlearning.apply("iterative", trained.model, **options)
    refused(trained, RequestError, "retain='s ids are not unique: 'f3' is there twice", retain=[FACTS[3]] * 2)
    refused(trained, RequestError, r"retain= and the request share \['f0'\]", retain=FACTS[:1])
