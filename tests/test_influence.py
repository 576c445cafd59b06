"""Influence from the ledger against dense gradients and finite differences, on all three architectures."""

import re

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient

from unlearnkit import influence, ledger, training
from unlearnkit.batching import batch_of, example_loss
from unlearnkit.errors import LedgerError, RequestError

ARCHS = ["gpt2", "llama", "gpt_neox"]
RECIPE = training.Recipe(epochs=2, lr=0.05, batch_size=8)  # B = 8 > 7 examples: a step an epoch


def vector_of(gradient: dict[str, torch.Tensor], names) -> torch.Tensor:
    return torch.cat([gradient[n].flatten() for n in names]).double()


@pytest.fixture(params=ARCHS)
def trained(request, tiny_model, tiny_tokenizer, tmp_path):
    """(model after two epochs, its ledger, dense gradients at the start of each epoch and at the end)."""
    model = tiny_model(request.param)

    def dense(*_):
        return {e.id: autograd_gradient(model, tiny_tokenizer, e, "text", divisor=8) for e in FACTS}

    gradients = [dense()]
    training.fine_tune(
        model,
        tiny_tokenizer,
        FACTS,
        RECIPE,
        ledger=tmp_path / "l",
        ledger_dtype="float32",
        on_epoch=lambda *_: gradients.append(dense()),
        progress=False,
    )
    return model, ledger.GradientLedger.open(tmp_path / "l", model), gradients


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("layers", ["all", "embedding", "last2"])
def test_gradient_dot_equals_the_dense_one(trained, tiny_tokenizer, epoch, layers):
    model, book, gradients = trained
    names = book.sum(IDS[:1], epoch, layers).keys()
    found = influence.gradient_dot(book, model, tiny_tokenizer, FACTS[:4], epoch, layers)
    assert list(found.columns) == ["id", "influence"]
    assert list(found["id"]) == IDS[:4]
    stored, now = gradients[epoch - 1], gradients[2]
    expected = [(vector_of(stored[i], names) @ vector_of(now[i], names)).item() for i in IDS[:4]]
    inside = {"all": "", "embedding": "embed|wte", "last2": r"\.[12]\."}[layers]
    assert set(names) == {n for n, _ in model.named_parameters() if re.search(inside, n)}
    assert found["influence"].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_gradient_dot_of_the_present_model_is_the_squared_norm(tiny_model, tiny_tokenizer, tmp_path):
    """An unchanged model: stored and present gradient are one."""
    model = tiny_model()
    recipe = training.Recipe(epochs=1, lr=1e-30, batch_size=4)
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    found = influence.gradient_dot(book, model, tiny_tokenizer, FACTS)
    assert found["influence"].tolist() == pytest.approx((book.norms(IDS) ** 2).tolist(), rel=1e-3)


def test_tracin_sums_the_dense_dots_over_epochs(trained):
    model, book, gradients = trained
    names = [n for n, _ in model.named_parameters()]
    expected = torch.zeros(7, 2, dtype=torch.float64)
    for epoch in gradients[:2]:
        sides = [torch.stack([vector_of(epoch[i], names) for i in ids]) for ids in (IDS, IDS[5:])]
        expected += 0.05 * sides[0] @ sides[1].T
    found = influence.tracin(book, IDS, IDS[5:])
    assert found.shape == (7, 2)
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-4 * expected.abs().max())
    assert (found[5, 0] > 0) & (found[6, 1] > 0)  # an example helps itself


def test_curvature_equals_central_differences_of_the_gradient(trained, tiny_tokenizer):
    """g^T H g = d/dh <g, grad(theta + h g)>, in float64 on both sides."""
    model, book, _ = trained
    names = [n for n, _ in model.named_parameters()]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    found = influence.curvature(model, tiny_tokenizer, FACTS[4:], book, IDS[:3], epoch=2, loss_on="text")
    assert list(found["id"]) == IDS[:3]
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
    model.double()
    batch = batch_of(tiny_tokenizer, FACTS[4:], "text")

    def slope(vector: dict[str, torch.Tensor], h: float) -> float:
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(before[n].double() + h * vector[n].double())
        loss = example_loss(model(**batch.inputs()).logits.double(), batch.labels).mean()
        gradient = torch.autograd.grad(loss, list(model.parameters()))
        return sum((g * vector[n]).sum().item() for n, g in zip(names, gradient, strict=True))

    for example, value in found.itertuples(index=False):
        vector = book.gradient(example, 2)
        h = 1e-3 / max(g.abs().max().item() for g in vector.values())
        expected = (slope(vector, h) - slope(vector, -h)) / (2 * h)
        assert value == pytest.approx(expected, rel=1e-2)


def test_curvature_is_without_dropout(trained, tiny_tokenizer):
    """Two passes with half of the activations dropped would differ from each other and from none dropped."""
    model, book, _ = trained
    calm = influence.curvature(model, tiny_tokenizer, FACTS[:2], book, IDS[:2])["influence"].tolist()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
        if hasattr(module, "attention_dropout") and isinstance(module.attention_dropout, float):
            module.attention_dropout = 0.5
    model.train()
    found = influence.curvature(model, tiny_tokenizer, FACTS[:2], book, IDS[:2])["influence"].tolist()
    assert found == pytest.approx(calm, rel=1e-6)
    assert all(module.training for module in model.modules())


def test_attention_is_what_it_was_after_curvature(trained, tiny_tokenizer):
    """Also when it fails half-way."""
    model, book, _ = trained
    model.set_attn_implementation("sdpa")
    influence.curvature(model, tiny_tokenizer, FACTS[:1], book, IDS[:1])
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(RequestError, match="nobody"):
        influence.curvature(model, tiny_tokenizer, FACTS[:1], book, ["nobody"])
    assert model.config._attn_implementation == "sdpa"


def test_refusals(trained, tiny_model, tiny_tokenizer, tmp_path):
    model, book, _ = trained
    other = tiny_model("llama" if model.config.model_type == "gpt2" else "gpt2")
    for act in (
        lambda: influence.gradient_dot(book, other, tiny_tokenizer, FACTS),
        lambda: influence.curvature(other, tiny_tokenizer, FACTS, book, IDS),
    ):
        with pytest.raises(LedgerError, match="this model differs at parameter"):
            act()
    plain = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "plain")
    with pytest.raises(LedgerError, match="not recorded by fine_tune: it has no batch size"):
        influence.gradient_dot(plain, model, tiny_tokenizer, FACTS)
    with pytest.raises(LedgerError, match="epoch 3 is not in ledger"):
        influence.gradient_dot(book, model, tiny_tokenizer, FACTS, epoch=3)
    with pytest.raises(RequestError, match="nobody"):
        influence.tracin(book, IDS, ["nobody"])


def test_tracin_weighs_each_record_with_its_own_rate(tiny_model, tiny_tokenizer, tmp_path):
    """A decaying rate: every record keeps that of its step, also when others are purged from its shard."""
    recipe = training.Recipe(epochs=2, lr=0.05, batch_size=4, lr_schedule="linear")
    model = tiny_model()
    run = training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    steps = len(run.order)
    rate = {(i, 1 + 2 * k // steps): recipe.rate(k, steps) for k, step in enumerate(run.order) for i in step}
    for gone in ([], [IDS[0]]):
        if gone:
            book.purge(gone)
        ids = [i for i in IDS if i not in gone]
        dots = {e: book.dot(ids, [IDS[5]], e, e)[:, 0].tolist() for e in (1, 2)}
        expected = [sum(rate[i, e] * dots[e][k] for e in (1, 2)) for k, i in enumerate(ids)]
        assert influence.tracin(book, ids, [IDS[5]])[:, 0].tolist() == pytest.approx(expected, rel=1e-4)
    assert len(set(rate.values())) == steps
