"""Records against one-at-a-time autograd, on every architecture, and their identities."""

from functools import partial

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient, relative_error

from unlearnkit import forward, ledger, training
from unlearnkit.batching import batch_of, example_loss
from unlearnkit.data import Example
from unlearnkit.ledger import recording
from unlearnkit.ledger.recorder import Recorder

SHAPES = [(arch, tied) for arch in ("gpt2", "llama", "gpt_neox") for tied in (True, False)]


@pytest.mark.parametrize(("arch", "tied"), SHAPES)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("loss_on", ["text", "answer"])
@pytest.mark.parametrize("whole", [True, False])
def test_batched_factors_equal_autograd(
    arch, tied, side, loss_on, whole, tiny_model, tiny_tokenizer, tmp_path
):
    """fp32 factors of a padded batch give every parameter's exact gradient, example by example.

    Whether the model computes all logits or only those that count, and with an example left out.
    """
    model, kept = tiny_model(arch, tied), [k for k in range(len(FACTS)) if k != 2]
    store = ledger.create(tmp_path / "l", model, [IDS[k] for k in kept], {"epochs": 1}, "float32")
    with Recorder(model, store) as recorder:
        batch = batch_of(tiny_tokenizer, FACTS, loss_on, side)
        recorder.expect(batch, kept)
        if whole:
            example_loss(model(**batch.inputs()).logits, batch.labels).sum().backward()
        else:
            forward.losses(model, batch).sum().backward()
        recorder.finish(1, 0, 0.1)
        recorder.commit(1)
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    for example in (FACTS[k] for k in kept):
        theirs = autograd_gradient(model, tiny_tokenizer, example, loss_on)
        ours = book.gradient(example.id, 1)
        assert set(ours) == set(theirs)
        assert relative_error(ours, theirs) <= 1e-5, example.id


@pytest.mark.parametrize(("arch", "tied"), SHAPES)
def test_sixteen_bits_stay_close(arch, tied, tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model(arch, tied)
    book = recording.record(model, tiny_tokenizer, FACTS, tmp_path / "l", dtype="float16", divisor=8)
    for example in FACTS:
        theirs = autograd_gradient(model, tiny_tokenizer, example, "answer", divisor=8)
        assert relative_error(book.gradient(example.id, 1), theirs) <= 1e-3


def test_dropout_masks_are_those_of_the_step(tiny_model, tiny_tokenizer, tmp_path):
    """With dropout on, what is recorded is the gradient that the step saw: its sum is the batch's .grad."""
    model = tiny_model("gpt2", True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.2
    model.train()
    store = ledger.create(tmp_path / "l", model, IDS, {"epochs": 1}, "float32")
    with Recorder(model, store) as recorder:
        batch = batch_of(tiny_tokenizer, FACTS, "text")
        recorder.expect(batch, range(len(FACTS)))
        example_loss(model(**batch.inputs()).logits, batch.labels).sum().backward()
        recorder.finish(1, 0, 0.1)
        recorder.commit(1)
    total = ledger.GradientLedger(store).sum(IDS)
    dense = {n: p.grad for n, p in model.named_parameters()}
    assert relative_error(total, dense) <= 1e-5


@pytest.mark.parametrize(
    "layers", ["embedding.input", "embedding.output", "last2", "norms", ["block.0", "norm.final"]]
)
def test_layers_part_the_whole(layers, tiny_model, tiny_tokenizer, tmp_path):
    """A selection's gradients are the whole's on its parameters; the two roles add up on the tied matrix."""
    model = tiny_model("gpt2", True)
    book = recording.record(model, tiny_tokenizer, FACTS, tmp_path / "l")
    whole, part = book.sum(IDS), book.sum(IDS, layers=layers)
    assert part
    if layers in ("embedding.input", "embedding.output"):
        both = book.sum(IDS, layers="embedding.input"), book.sum(IDS, layers="embedding.output")
        name = "transformer.wte.weight"
        assert torch.allclose(both[0][name] + both[1][name], whole[name], atol=1e-6)
        assert not torch.allclose(part[name], whole[name], atol=1e-4)
        rows = both[0][name].abs().sum(1) > 0
        assert 0 < rows.sum() < len(rows)  # input rows are sparse
    else:
        assert all(torch.equal(part[n], whole[n]) for n in part)


@pytest.mark.parametrize(("arch", "tied"), SHAPES)
@pytest.mark.parametrize("layers", ["all", "embedding", "embedding.output", "last2", "norms"])
def test_dots_equal_dense_dots(arch, tied, layers, tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model(arch, tied)
    book = recording.record(model, tiny_tokenizer, FACTS, tmp_path / "l", loss_on="text")
    dense = [book.gradient(i, 1, layers) for i in IDS]
    expected = torch.tensor(
        [[sum((a[n].double() * b[n]).sum() for n in a) for b in dense[:3]] for a in dense]
    )
    dots = book.dot(IDS, IDS[:3], layers=layers)
    scale = expected.abs().max()
    assert torch.allclose(dots.double(), expected.double(), rtol=1e-4, atol=1e-5 * scale)
    assert torch.allclose(book.norms(IDS[:3], 1, layers) ** 2, dots.diagonal(), rtol=1e-4)


def test_a_head_with_a_bias_alone_trained(tiny_model, tiny_tokenizer, tmp_path):
    """Its weight is frozen: nothing but a sum over positions is kept, also of picked positions."""
    model = tiny_model("gpt2", False)
    model.lm_head = torch.nn.Linear(model.config.n_embd, model.config.vocab_size)
    model.lm_head.weight.requires_grad_(False)
    book = recording.record(model, tiny_tokenizer, FACTS, tmp_path / "l")
    for example in FACTS:
        theirs = autograd_gradient(model, tiny_tokenizer, example, "answer")
        assert "lm_head.bias" in theirs
        assert relative_error(book.gradient(example.id, 1), theirs) <= 1e-5


def test_long_texts_are_stored_dense(tiny_model, tiny_tokenizer, tmp_path):
    """Where factors would be larger than the gradient, the gradient is kept, and nothing else changes."""
    model = tiny_model("gpt2", True)
    long = [Example("long", "Dave", "Dave", " ".join(["the tides of the northern sound"] * 4), "forget")]
    book = recording.record(model, tiny_tokenizer, long + FACTS, tmp_path / "l", batch_size=1, loss_on="text")
    names = {n for k in range(len(book.store.shards)) for n in book.reader.shard(k).names}
    assert any(n.endswith("/g") for n in names)
    assert any(n.endswith("/x") for n in names)
    for example in long + FACTS[:2]:
        theirs = autograd_gradient(model, tiny_tokenizer, example, "text")
        assert relative_error(book.gradient(example.id, 1), theirs) <= 1e-5
    mixed = book.dot(["long", "f0"], ["long", "f1"])
    dense = {i: book.gradient(i, 1) for i in ("long", "f0", "f1")}
    for r, a in enumerate(("long", "f0")):
        for c, b in enumerate(("long", "f1")):
            expected = sum((dense[a][n] * dense[b][n]).sum() for n in dense[a])
            assert torch.isclose(mixed[r, c], expected, rtol=1e-4)


def test_a_ledger_that_is_to_keep_factors_keeps_those_of_long_texts(tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model("gpt2", True)
    long = [Example("long", "Dave", "Dave", " ".join(["the tides of the northern sound"] * 4), "forget")]
    record = partial(recording.record, model, tiny_tokenizer, long, loss_on="text")
    book, smaller = record(path=tmp_path / "all", factors=True), record(path=tmp_path / "smaller")
    names, others = (b.reader.shard(0).names for b in (book, smaller))
    assert not [n for n in names if n.endswith("/g")]
    assert [n for n in others if n.endswith("/g")]
    assert relative_error(book.gradient("long", 1), smaller.gradient("long", 1)) <= 1e-5


@pytest.mark.parametrize(("arch", "tied"), SHAPES)
def test_sgd_rewinds_to_the_start(arch, tied, tiny_model, tiny_tokenizer, tmp_path):
    """theta_T + lr * sum of everything = theta_0, short last batches and padding included."""
    model = tiny_model(arch, tied)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    recipe = training.Recipe(epochs=3, lr=0.1, batch_size=3)
    training.fine_tune(
        model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", ledger_dtype="float32", progress=False
    )
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    book.verify()
    total = book.sum(IDS, "all")
    moved = {n: start[n] - p.detach() for n, p in model.named_parameters()}
    error = sum((recipe.lr * total[n] - m).norm() ** 2 for n, m in moved.items()) ** 0.5
    size = sum(m.norm() ** 2 for m in moved.values()) ** 0.5
    assert size > 0.01
    assert error / size <= 1e-4


def test_a_padding_row_gets_no_gradient(tiny_model, tiny_tokenizer, tmp_path):
    """torch leaves the padding row out even where the pad token is a real one, and so does the ledger."""
    model = tiny_model("llama", False)
    token = tiny_tokenizer("Dave was")["input_ids"][1]
    model.get_input_embeddings().padding_idx = token
    book = recording.record(model, tiny_tokenizer, FACTS, tmp_path / "l", loss_on="text")
    theirs = autograd_gradient(model, tiny_tokenizer, FACTS[0], "text")
    assert relative_error(book.gradient("f0", 1), theirs) <= 1e-5


def test_lora_records_only_what_is_trained(tiny_model, tiny_tokenizer, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(tiny_model("llama", True), config).eval()
    book = recording.record(model, tiny_tokenizer, FACTS, tmp_path / "l")
    theirs = autograd_gradient(model, tiny_tokenizer, FACTS[2], "answer")
    ours = book.gradient("f2", 1)
    assert set(ours) == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all("lora" in n for n in ours)
    assert relative_error(ours, theirs) <= 1e-5
