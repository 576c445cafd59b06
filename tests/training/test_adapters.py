"""LoRA from end to end: adapters alone are trained, recorded, replayed, retrained and unlearned."""

from dataclasses import replace

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient, gradients, relative_error, weights_of

from unlearnkit import training, unlearning
from unlearnkit.errors import ConfigError, LayerError
from unlearnkit.ledger import GradientLedger
from unlearnkit.training import Recipe, adapters

SGD = Recipe(optimizer="sgd", lr=0.5, epochs=3, batch_size=3, lora=2)
SHAPES = pytest.mark.parametrize("shape", ["llama", "gpt2", "gpt_neox"])


@SHAPES
def test_the_model_answers_as_before_until_it_is_trained(shape, tiny_model):
    plain, ours, again = (tiny_model(shape, True) for _ in range(3))
    for model in (ours, again):
        adapters.add(model, 2)
        adapters.add(model, 2)  # once only
    tokens = torch.arange(12)[None]
    assert torch.equal(plain(tokens).logits, ours(tokens).logits)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))
    moving = [n for n, p in ours.named_parameters() if p.requires_grad]
    assert moving
    assert all(adapters.NAME in name for name in moving)


@SHAPES
def test_adapters_alone_are_trained_and_recorded_and_sgd_is_undone(
    shape, tiny_model, tiny_tokenizer, tmp_path
):
    model = tiny_model(shape, True)
    training.freeze(model, SGD)
    before = weights_of(model)
    run = training.fine_tune(
        model, tiny_tokenizer, FACTS, SGD, ledger=tmp_path, ledger_dtype="float32", progress=False
    )
    after = weights_of(model)
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    trained = {n for n in before if adapters.NAME in n}
    assert moved == trained
    book = GradientLedger.open(tmp_path, model)
    total = book.sum(IDS, "all")
    assert set(total) == trained
    for name in trained:  # theta_T + lr * all that was recorded = theta_0
        back = after[name] + run.lr * total[name]
        assert torch.allclose(back, before[name], atol=1e-5 * (1 + before[name].abs().max())), name


def test_the_record_is_autograd_s(tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model("llama", True)
    one = replace(SGD, epochs=1, batch_size=len(FACTS))  # one step, so that each gradient is theta_0's
    training.freeze(model, one)
    expected = {e.id: autograd_gradient(model, tiny_tokenizer, e, "text", len(FACTS)) for e in FACTS}
    training.fine_tune(
        model, tiny_tokenizer, FACTS, one, ledger=tmp_path, ledger_dtype="float32", progress=False
    )
    for (example, _), found in gradients(tmp_path).items():
        told = {n: g for n, g in expected[example].items() if "lora_B" in n}  # A's are 0 while B is
        assert relative_error(found, told) < 1e-5


def test_unlearning_and_retraining_move_adapters_only(tiny_model, tiny_tokenizer, tmp_path):
    recipe = replace(SGD, optimizer="adamw", lr=1e-2)
    model = tiny_model("llama", True)
    kept = {"ledger": tmp_path / "ledger", "history": tmp_path / "history"}
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, **kept, progress=False)
    book, way = GradientLedger.open(kept["ledger"], model), training.History.open(kept["history"])
    before = weights_of(model)
    given = {"ledger": book, "checkpoints": way, "examples": FACTS, "tokenizer": tiny_tokenizer}
    given["retain"] = FACTS[3:]
    for name, how in [
        ("first_epoch", {"norm": 0.1}),
        ("adam_replay", {"norm": 0.1}),
        ("kfac_replay", {"norm": 0.1}),
        ("npo", {"steps": 2, "lr": 1e-2}),
        ("rewind", {"epoch": 1}),
    ]:
        result = unlearning.apply(name, model, request=IDS[:3], **given, **how)
        moved = {n for n, p in model.named_parameters() if not torch.equal(before[n], p)}
        assert moved, name
        assert all(adapters.NAME in n for n in moved), name
        result.revert()
        assert all(torch.equal(before[n], p) for n, p in model.named_parameters()), name
    result = unlearning.apply("exact_replay", model, request=IDS[:3], **given)
    oracle = tiny_model("llama", True)
    training.fine_tune(oracle, tiny_tokenizer, FACTS, recipe, exclude=IDS[:3], progress=False)
    theirs = weights_of(oracle)
    assert all(torch.equal(theirs[n], p) for n, p in model.named_parameters())


def test_a_layer_that_has_no_adapter_is_refused_by_name(tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model("llama", True)
    training.fine_tune(model, tiny_tokenizer, FACTS, SGD, ledger=tmp_path, progress=False)
    book = GradientLedger.open(tmp_path, model)
    assert book.sum(IDS, layers="last2")
    with pytest.raises(LayerError, match="embedding"):
        book.sum(IDS, layers="embedding")


def test_merged_it_is_a_plain_model_that_answers_the_same(tiny_model, tiny_tokenizer):
    for shape in ("llama", "gpt2"):
        model, plain = tiny_model(shape, True), tiny_model(shape, True)
        names = [n for n, _ in plain.named_parameters()]
        training.fine_tune(model, tiny_tokenizer, FACTS, SGD, progress=False)
        tokens = torch.arange(12)[None]
        with torch.no_grad():
            before = model(tokens).logits
            adapters.merge(model)
            assert torch.allclose(model(tokens).logits, before, atol=1e-5)
            assert not torch.allclose(plain(tokens).logits, before, atol=1e-3)
        assert [n for n, _ in model.named_parameters()] == names


def test_another_rank_is_an_error(tiny_model):
    model = tiny_model("llama", True)
    adapters.add(model, 2)
    with pytest.raises(ConfigError, match="rank 2"):
        adapters.add(model, 4)
    with pytest.raises(ConfigError, match=r"Recipe\.lora"):
        Recipe(lora=-1)
