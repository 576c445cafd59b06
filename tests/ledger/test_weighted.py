"""Weighted sums of records and their dot products, against dense gradients."""

import pytest
import torch
from worlds import FACTS, IDS

from unlearnkit import ledger
from unlearnkit.ledger import weighted

LAYERS = ("all", "embedding.input", "embedding.output", ["block.1", "norms"])


def sums_of(book):
    return [
        [(book, (IDS[0], 1), 1.0)],
        [(book, (IDS[1], 1), 0.5), (book, (IDS[1], 2), -2.0)],
        [(book, (i, e), 0.1) for i in IDS[2:] for e in (2, 1)],
    ]


def dense(book, terms, layers):
    parts = [(weight, book.gradient(*key, layers)) for _, key, weight in terms]
    return {n: sum(w * g[n] for w, g in parts).double() for n in parts[0][1]}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("block", [1 << 13, weighted.BLOCK_BYTES])
def test_the_gram_matrix_in_a_metric(layers, block, book, monkeypatch):
    monkeypatch.setattr(weighted, "BLOCK_BYTES", block)
    torch.manual_seed(0)
    metric = {n: torch.rand(shape) + 0.5 for n, shape in book.shapes.items()}
    found = weighted.gram(sums_of(book), layers, metric.__getitem__)
    whole = [dense(book, terms, layers) for terms in sums_of(book)]
    expected = [[sum((a[n] * b[n] * metric[n]).sum() for n in a) for b in whole] for a in whole]
    assert torch.equal(found, found.T)
    assert torch.allclose(found, torch.tensor(expected), rtol=1e-5, atol=1e-6 * found.abs().max().item())


def test_without_weights_it_is_the_factors_own(book):
    found = weighted.gram([[(book, (i, 2), 1.0)] for i in IDS], "all", lambda _: torch.ones(()))
    own = book.dot(IDS, IDS, 2, 2).double()
    assert torch.allclose(found, own, rtol=1e-4, atol=1e-6 * own.abs().max().item())


@pytest.mark.parametrize("layers", LAYERS)
def test_weighted_totals(layers, book):
    for terms in sums_of(book):
        expected = dense(book, terms, layers)
        found = dict(weighted.total(terms, layers))
        assert list(found) == list(expected)
        for name, value in found.items():
            assert torch.allclose(value.double(), expected[name], rtol=1e-4, atol=1e-6), name


def test_two_ledgers_in_one_sum(book, tmp_path, tiny_model, tiny_tokenizer):
    arch = "gpt2" if any("wte" in n for n in book.shapes) else "llama"
    other = ledger.record(tiny_model(arch, tied=arch == "gpt2"), tiny_tokenizer, FACTS[:2], tmp_path / "o")
    terms = [(book, (IDS[3], 2), 2.0), (other, (IDS[0], 1), -1.0), (book, (IDS[0], 1), 1.0)]
    expected = {n: 2 * g for n, g in book.gradient(IDS[3], 2).items()}
    expected = {n: g + book.gradient(IDS[0], 1)[n] for n, g in expected.items()}
    theirs = other.gradient(IDS[0], 1)
    for name, value in weighted.total(terms, "all"):
        assert torch.allclose(value, expected[name] - theirs[name], rtol=1e-4, atol=1e-6), name
