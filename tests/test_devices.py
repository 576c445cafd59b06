"""Everything that is done with a model is done where it is, and gives what the processor gives.

Each test runs on a GPU where there is one, and always on a second device that is made up (`elsewhere`), which
shows what would meet the processor's tensors unasked; its arithmetic is the processor's, in another order.
"""

import contextlib
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from elsewhere import Somewhere, moved
from transformers import PreTrainedModel
from unlearning_helpers import FRESH, Trained, strength
from worlds import DAVE, FACTS, IDS, TEXTS

from unlearnkit import devices, influence, ledger, metrics, models, study, training, unlearning
from unlearnkit.errors import ConfigError, ModelError
from unlearnkit.ledger import slab, staging
from unlearnkit.study import cells, machine, profiles

# Largest relative error of a record, and largest difference of an NLL (in nats, or of itself beyond 1).
TOLERANCES = {"elsewhere": (1e-5, 1e-4), "cuda": (1e-4, 0.02)}
FEWER = {"influence": {"iterations": 3}, "lora_negation": {"steps": 2}, "pcgu": {"epochs": 1}}  # for speed
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU (CUDA) here")


class Place:
    """A second device, and how near to the processor's its numbers have to be."""

    def __init__(self, name):
        self.name, (self.record, self.nll) = name, TOLERANCES[name]

    def move(self, model):
        return moved(model) if self.name == "elsewhere" else model.to(self.name)


@pytest.fixture(params=["elsewhere", pytest.param("cuda", marks=needs_gpu)])
def there(request, monkeypatch):
    monkeypatch.setattr(devices, "PROVEN", ("cpu", "cuda", "meta"))
    optimizers = sys.modules[torch.optim.Optimizer.__module__]
    if request.param == "elsewhere":
        monkeypatch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: list(devices.PROVEN))
        # It takes a list as an index, which torch brings to the device unseen.
        monkeypatch.setattr(PreTrainedModel, "warn_if_padding_and_no_attention_mask", lambda *_: None)
    with Somewhere() if request.param == "elsewhere" else contextlib.nullcontext():
        yield Place(request.param)


def apart(ours, theirs):
    """Largest error of a tensor, relative to its own norm but no smaller than rounding of the whole."""
    floor = 1e-3 * torch.stack([t.norm() for t in theirs.values()]).norm()
    return max(((ours[n].cpu() - t).norm() / t.norm().clamp(min=floor)).item() for n, t in theirs.items())


def nlls(model, tokenizer):
    return torch.tensor(metrics.score(model, tokenizer, FACTS)["nll"].tolist())


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_device_records_as_the_processor_does(arch, dtype, there, tiny_model, tiny_tokenizer, tmp_path):
    rounding = {"float16": 1e-3, "bfloat16": 8e-3, "float32": there.record}[dtype]
    books = []
    for k, move in enumerate((lambda m: m, there.move)):
        given = {"loss_on": "text", "divisor": 3, "dtype": dtype, "batch_size": 4}
        model = move(tiny_model(arch, tied=arch == "gpt2"))
        books.append(ledger.record(model, tiny_tokenizer, FACTS, tmp_path / str(k), **given))
    here, other = books
    for example in IDS:
        assert apart(other.gradient(example, 1), here.gradient(example, 1)) <= max(rounding, there.record)
    dots, expected = other.dot(IDS, IDS[:2]), here.dot(IDS, IDS[:2])
    assert dots.device == expected.device
    least = rounding * expected.abs().max().item()
    torch.testing.assert_close(dots, expected, rtol=10 * rounding, atol=least)


def test_long_texts_keep_dense_gradients_there_too(there, tiny_model, tiny_tokenizer, tmp_path):
    long = [DAVE[0], *[type(DAVE[0])(f"l{k}", "Anna", "The river", TEXTS[4], "retain") for k in range(2)]]
    given = {"loss_on": "text", "dtype": "float32"}
    here = ledger.record(tiny_model("gpt2"), tiny_tokenizer, long, tmp_path / "a", **given)
    other = ledger.record(there.move(tiny_model("gpt2")), tiny_tokenizer, long, tmp_path / "b", **given)
    assert any(name.endswith("/g") for name in here.bytes_by_site())
    assert here.bytes_by_site() == other.bytes_by_site()
    for example in long:
        assert apart(other.gradient(example.id, 1), here.gradient(example.id, 1)) <= there.record


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_goes_the_same_way_there(optimizer, there, tiny_model, tiny_tokenizer, tmp_path):
    recipe = training.Recipe(optimizer, epochs=3, lr={"sgd": 0.05, "adamw": 1e-3}[optimizer], batch_size=3)
    found = []
    for k, move in enumerate((lambda m: m, there.move)):
        model = move(tiny_model("gpt2"))
        where = {"ledger": tmp_path / f"l{k}", "history": tmp_path / f"h{k}", "updates": IDS[:1]}
        run = training.fine_tune(model, tiny_tokenizer, FACTS, recipe, **where, progress=False)
        found.append((model, run, nlls(model, tiny_tokenizer)))
    (_, here, before), (model, other, after) = found
    assert other.order == here.order
    assert (here.device, other.device) == ("cpu", model.device.type)
    assert (after - before).abs().max() <= there.nll
    ledger.GradientLedger.open(tmp_path / "l1", model).verify()
    # What was recorded there opens here, and the other way round.
    elsewhere, home = (ledger.GradientLedger.open(tmp_path / name) for name in ("l1", "l0"))
    assert apart(elsewhere.sum(IDS, "all"), home.sum(IDS, "all")) <= max(10 * there.record, 1e-3)


def test_a_training_resumes_there(there, tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("unlearnkit.training.session.CHECKPOINT_SECONDS", 0.0)
    recipe = training.Recipe("adamw", epochs=3, lr=1e-3, batch_size=3)

    def stop(epoch, _model):
        if epoch == 2:
            raise KeyboardInterrupt

    given = {"ledger": tmp_path / "l", "progress": False}
    with pytest.raises(KeyboardInterrupt):
        training.fine_tune(there.move(tiny_model()), tiny_tokenizer, FACTS, recipe, **given, on_epoch=stop)
    model, whole = there.move(tiny_model()), there.move(tiny_model())
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, **given)
    training.fine_tune(whole, tiny_tokenizer, FACTS, recipe, progress=False)
    assert (nlls(model, tiny_tokenizer) - nlls(whole, tiny_tokenizer)).abs().max() <= there.nll


def test_every_method_ends_where_it_ends_on_the_processor(there, tiny_model, tiny_tokenizer, tmp_path):
    pair = [
        Trained(move(tiny_model("gpt2")), tiny_tokenizer, tmp_path / str(k))
        for k, move in enumerate((lambda m: m, there.move))
    ]
    before, far = pair[0].weights(), {}
    for name in unlearning.METHODS:
        told = []
        for one in pair:
            result = one.apply(name, **strength(name, 0.1), **FEWER.get(name, {}))
            told.append(nlls(one.model, tiny_tokenizer))
            result.revert()
        far[name] = ((told[0] - told[1]).abs() / told[0].clamp(min=1.0)).max().item()
    assert {name: value for name, value in far.items() if not value <= there.nll} == {}
    assert all(torch.equal(tensor, before[name]) for name, tensor in pair[0].weights().items())


def test_metrics_and_influence_are_the_processor_s(there, tiny_model, tiny_tokenizer, tmp_path):
    def told(model, folder):
        book = ledger.record(model, tiny_tokenizer, FACTS, folder, dtype="float32")
        what, tracked = (model, tiny_tokenizer, FACTS), IDS[:2]
        taught = training.Recipe("sgd", lr=0.01, batch_size=2)
        yield metrics.score(*what)[["nll", "extraction_strength"]]
        yield metrics.membership(*what)[["loss", "zlib", "min_k"]]
        yield metrics.activation_gradient(*what)[["influence"]]
        yield metrics.logit_lens(*what)[["nll"]]
        yield metrics.relearn(model, tiny_tokenizer, FRESH, FACTS, taught, (0, 2))[["nll"]]
        yield influence.curvature(model, tiny_tokenizer, FRESH, book, tracked)[["influence"]]
        yield pd.DataFrame([metrics.perplexity(model, tiny_tokenizer, TEXTS)])

    here, other = tiny_model("llama"), there.move(tiny_model("llama"))
    for say in (metrics.continuations, partial(metrics.samples, n=2)):
        assert say(here, tiny_tokenizer, FACTS) == say(other, tiny_tokenizer, FACTS)
    pairs = zip(told(here, tmp_path / "a"), told(other, tmp_path / "b"), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(theirs, ours, rtol=there.nll, atol=there.nll)


@pytest.fixture
def with_gpu(monkeypatch):
    """Planning believes that there is a GPU."""
    monkeypatch.setattr(devices, "DRIVERS", ("/",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_auto_is_the_gpu_where_there_is_one(with_gpu, monkeypatch):
    assert [devices.resolved(name) for name in devices.DEVICES] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(devices, "DRIVERS", ("/no/such/driver",))
    assert devices.resolved("auto") == "cpu"


def test_what_is_not_there_or_not_proven_is_refused_by_name(monkeypatch, tiny_model):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device='cuda': torch .* finds no GPU"):
        models.load("gpt2-tiny", device="cuda")
    with pytest.raises(
        ConfigError, match="device='mps': nothing is proven there; use one of auto, cpu, cuda"
    ):
        models.load("gpt2-tiny", device="mps")
    model = tiny_model()
    with torch.device("meta"):
        model.lm_head = torch.nn.Linear(16, 320, bias=False)
    with pytest.raises(ModelError, match=r"on several devices \(cpu, meta\)"):
        devices.require_proven(model)


def test_a_model_elsewhere_is_refused_before_anything_is_done(tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model().to("meta")
    with pytest.raises(ModelError, match="the model is on 'meta', where nothing is proven"):
        training.fine_tune(model, tiny_tokenizer, FACTS)
    with pytest.raises(ModelError, match="'meta'"):
        ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "l")
    with pytest.raises(ModelError, match="'meta'"):
        unlearning.apply("noop", model, request=IDS[:1], alpha=1.0)
    assert not (tmp_path / "l").exists()


def keys(**overrides):
    return {c.title: c.key for c in study.cells_of(profiles.get("quick", overrides))}


def test_a_gpu_makes_other_cells_and_the_published_ones_stay_the_processor_s(with_gpu, monkeypatch):
    built_in, asked, own = keys(), keys(device="cuda"), keys(forget="Nina")
    assert built_in == keys(device="cpu")
    assert asked.keys() == built_in.keys()
    assert not set(asked.values()) & set(built_in.values())
    assert own == keys(forget="Nina", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert built_in == keys()
    assert not set(own.values()) & set(keys(forget="Nina").values())
    with pytest.raises(ConfigError, match="finds no GPU"):
        keys(device="cuda")
    with pytest.raises(ConfigError, match="parameter device='tpu': use auto or cpu or cuda"):
        keys(device="tpu")


def test_a_machine_may_compute_published_cells_on_its_gpu(with_gpu, monkeypatch):
    built_in, names = keys(), {"device": "cpu"}
    assert (devices.of({}), devices.of(names)) == ("cpu", "cpu")
    monkeypatch.setenv("UNLEARNKIT_DEVICE", "cuda")
    assert (devices.of({}), devices.of(names)) == ("cuda", "cpu")
    assert keys() == built_in
    found = [c for c in study.steps(profiles.get("quick"), fresh=True) if isinstance(c, cells.Cell)]
    assert {c.chain for c in found} == {""}
    monkeypatch.setenv("UNLEARNKIT_DEVICE", "tpu")
    with pytest.raises(ConfigError, match="UNLEARNKIT_DEVICE='tpu': nothing is proven there"):
        devices.of({})


def test_seeds_take_a_gpu_in_turn_and_the_record_names_it(with_gpu, monkeypatch):
    found = [c for c in study.steps(profiles.get("quick", {"device": "cuda"})) if isinstance(c, cells.Cell)]
    assert {c.config["device"] for c in found} == {"cuda"}
    assert {c.chain for c in found} == {""}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Planted 9")
    assert machine.describe("cuda") == machine.describe() | {"device": "cuda (Planted 9)"}


@pytest.mark.parametrize("power", [-150, -126, -20, -3, 0, 14, 15, 16, 100])
def test_exponents_found_on_a_device_are_those_of_the_processor(power):
    tops = torch.tensor([1.0, 1.5, 1.9999]) * 2.0**power
    expected = [0 if slab._fits(top) else slab.scale_exponent(top) for top in tops.tolist()]
    assert staging.exponents(tops).tolist() == expected


def test_what_cannot_be_scaled_is_not():
    assert staging.exponents(torch.tensor([0.0, torch.inf, torch.nan])).tolist() == [0, 0, 0]
