"""Asking a ledger: what it can answer, and what it says of the rest."""

import dataclasses
import json

import pytest
import torch
from worlds import DAVE_IDS as IDS
from worlds import (
    RECIPE,
    relative_error,
)

from unlearnkit import ledger, models, unlearning
from unlearnkit.errors import LedgerError, RequestError


def test_the_wrong_model_is_refused(trained, tiny_model):
    book = ledger.GradientLedger.open(trained)
    untied, frozen = tiny_model("gpt2", tied=False), tiny_model("gpt2")
    frozen.transformer.h[1].mlp.c_fc.weight.requires_grad_(False)
    for model, name in (
        (tiny_model("llama"), "GPT2LMHeadModel; this model differs at parameter"),
        (untied, "'lm_head.weight'"),
        (frozen, "'transformer.h.1.mlp.c_fc.weight': absent or frozen"),
    ):
        with pytest.raises(LedgerError, match=name):
            ledger.GradientLedger.open(trained, model)
        with pytest.raises(LedgerError, match=name):
            unlearning.apply("first_epoch", model, request=IDS[:1], ledger=book, alpha=0.1)
    ledger.GradientLedger.open(trained, tiny_model("gpt2"))


def test_requests_that_the_ledger_cannot_answer(trained):
    book = ledger.GradientLedger.open(trained)
    with pytest.raises(RequestError, match="2 ids are not in ledger .*'nobody', 'none'"):
        book.sum(["nobody", IDS[0], "none"])
    with pytest.raises(RequestError, match="'nobody'"):
        book.dot(IDS[:1], ["nobody"])
    for act in (book.sum, book.purge, book.norms):
        with pytest.raises(RequestError, match="empty"):
            act([])
    with pytest.raises(LedgerError, match="epochs='bogus': give numbers from 1, or 'all'"):
        book.sum(IDS, "bogus")
    with pytest.raises(LedgerError, match=r"epochs=\[\] names no epoch"):
        book.sum(IDS, [])
    for epoch in (0, 4, -1):
        with pytest.raises(LedgerError, match=rf"epoch {epoch} is not in ledger .* epochs 1 to 3"):
            book.gradient(IDS[0], epoch)


def test_info(trained, tiny_model):
    info = ledger.GradientLedger.open(trained).info()
    assert (info["examples"], info["epochs"], info["dtype"]) == (7, 3, "float16")
    assert info["bytes"] == sum(p.stat().st_size for p in trained.glob("e*"))
    assert info["shards"] == len(list(trained.glob("e*")))
    assert info["bytes_per_record"] == info["bytes"] / 21
    model = {"name": "GPT2LMHeadModel", "fingerprint": models.fingerprint(tiny_model("gpt2"))}
    assert info["model"] == model
    known = {field.name for field in dataclasses.fields(RECIPE)}
    assert type(RECIPE)(**{k: v for k, v in info["recipe"].items() if k in known}) == RECIPE
    json.dumps(info)
    book = ledger.GradientLedger.open(trained)
    front = info["bytes"] - sum(book.bytes_by_site().values())
    assert 0 < front < info["bytes"] / 2
    assert book.parameter_sizes() == {n: p.numel() for n, p in tiny_model("gpt2").named_parameters()}


def test_sums_do_not_depend_on_chunks(trained, monkeypatch):
    book = ledger.GradientLedger.open(trained)
    whole, dots = book.sum(IDS, "all"), book.dot(IDS, IDS)
    monkeypatch.setattr(ledger.reader, "BUDGET", 1)  # one record at a time
    assert relative_error(book.sum(IDS, "all"), whole) < 1e-5
    assert torch.allclose(book.dot(IDS, IDS), dots, rtol=1e-4, atol=1e-6)
    assert relative_error(book.sum(iter(IDS), (e for e in (1, 2, 3))), whole) < 1e-5
