"""Which records a fine-tuning leaves."""

import dataclasses

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from worlds import DAVE as FACTS
from worlds import DAVE_IDS as IDS
from worlds import (
    RECIPE,
    autograd_gradient,
    gradients,
    relative_error,
    require_same_ledgers,
    same,
    weights_of,
)

from unlearnkit import ledger
from unlearnkit.data import Example
from unlearnkit.errors import RequestError


def test_recording_changes_no_weight(train):
    plain, _ = train(ledger=None)
    recorded, _ = train()
    assert same(weights_of(plain), weights_of(recorded))


def test_two_examples_of_one_id_are_refused(tiny_model, tiny_tokenizer, tmp_path):
    twins = [FACTS[0], dataclasses.replace(FACTS[1], id=FACTS[0].id)]
    with pytest.raises(RequestError, match="ids are not unique"):
        ledger.record(tiny_model(), tiny_tokenizer, twins, tmp_path / "l")
    assert not (tmp_path / "l").exists()


def test_a_recorded_subset_is_the_same_as_in_the_whole(train, tmp_path):
    model, _ = train("whole", ledger_dtype="float32")
    subset, _ = train(record=IDS[1:3], ledger_dtype="float32")
    assert same(weights_of(model), weights_of(subset))
    book = ledger.GradientLedger.open(tmp_path / "l", subset)
    book.verify()
    assert book.example_ids == IDS[1:3]
    whole = gradients(tmp_path / "whole")
    require_same_ledgers(gradients(tmp_path / "l"), {k: g for k, g in whole.items() if k[0] in IDS[1:3]})


def test_excluded_examples_are_not_recorded(train, tmp_path):
    train(exclude=IDS[:2])
    book = ledger.GradientLedger.open(tmp_path / "l")
    book.verify()
    assert book.example_ids == IDS[2:]


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulation_gives_the_same_records(accumulate, train, tmp_path):
    """Also where long and short texts of one step are stored in different layouts, so in different shards."""
    long = Example("long", "Dave", "Dave", " ".join(["the tides of the northern sound"] * 4), "forget")
    facts = [long, *FACTS]
    plain, _ = train("plain", examples=facts, ledger_dtype="float32")
    recipe = dataclasses.replace(RECIPE, accumulate=accumulate)
    split, _ = train("split", examples=facts, recipe=recipe, ledger_dtype="float32")
    assert relative_error(weights_of(split), weights_of(plain)) < 1e-4
    ledger.GradientLedger.open(tmp_path / "split", split).verify()
    ours, theirs = gradients(tmp_path / "split"), gradients(tmp_path / "plain")
    assert ours.keys() == theirs.keys()
    assert max(relative_error(ours[k], theirs[k]) for k in theirs) < 1e-3  # rounding, grown over the steps
    assert max(relative_error(ours[i, 1], theirs[i, 1]) for i in ("long", *IDS)) < 1e-4


def test_record_is_without_dropout_and_leaves_every_modules_mode(tiny_tokenizer, tmp_path):
    """Half of all activations would be dropped; one of the modules was in evaluation mode before."""
    config = GPT2Config(vocab_size=320, n_embd=16, n_layer=2, n_head=2, n_positions=64)
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.5
    model = GPT2LMHeadModel(config).train()
    model.transformer.h[1].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    assert len(set(modes.values())) == 2
    book = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "l")
    assert {name: module.training for name, module in model.named_modules()} == modes
    model.eval()
    for example in FACTS:
        expected = autograd_gradient(model, tiny_tokenizer, example, "answer")
        assert relative_error(book.gradient(example.id, 1), expected) < 1e-4


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_what_is_above_frozen_embeddings_is_recorded_without_training(
    arch, tiny_model, tiny_tokenizer, tmp_path
):
    """Nothing below the first block's norm is followed there."""
    model = tiny_model(arch, tied=False)
    for embedding in (m for m in model.modules() if isinstance(m, torch.nn.Embedding)):
        embedding.requires_grad_(False)
    book = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "l")
    for example in FACTS:
        expected = autograd_gradient(model, tiny_tokenizer, example, "answer")
        ours = book.gradient(example.id, 1)
        assert ours.keys() == expected.keys()
        assert relative_error(ours, expected) < 1e-4
