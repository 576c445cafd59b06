"""Second moments of stored factors, against sums over tokens; and what is shaped by them."""

import pytest
import torch
from worlds import IDS

from unlearnkit.layers import Slot
from unlearnkit.ledger import kronecker
from unlearnkit.ledger.algebra import Factors
from unlearnkit.ledger.sites import Site

LAYERS = ("all", "embedding.input", "embedding.output", ["block.1", "norms"])


def unit(moment):
    return torch.ones_like(moment) if moment.dim() == 1 else torch.eye(len(moment), dtype=moment.dtype)


@pytest.mark.parametrize("layers", LAYERS)
def test_identity_operators_leave_the_sum(layers, book):
    summed, others = [(i, 1) for i in IDS[:3]], [(i, 2) for i in IDS[3:]]
    expected = book.sum(IDS[:3], 1, layers)
    found = dict(kronecker.shaped(book, summed, others, layers, unit))
    assert list(found) == list(expected)
    for name, value in found.items():
        assert torch.allclose(value, expected[name], rtol=1e-5, atol=1e-6), name


def test_each_side_has_its_own_operator(book):
    """Site by site in float64, with operators that do not commute: one less than the moment itself."""
    summed, others = [(i, 1) for i in IDS[:3]], [(i, e) for i in IDS[3:] for e in (1, 2)]
    found = dict(kronecker.shaped(book, summed, others, "block.1", lambda m: m - 1))
    for site in book.reader.sites:
        if not site.weight or site.weight.parameter not in found or site.kind == "norm":
            continue
        inner, outer = kronecker.moments(book, site, book.reader.as_stored(others)[1])
        whole = sum(book.gradient(i, 1)[site.weight.parameter] for i in IDS[:3]).double()
        matrix = whole if site.kind == "linear" else whole.T
        expected = (outer - 1) @ matrix @ (inner - 1)
        ours = found[site.weight.parameter].double()
        ours = ours if site.kind == "linear" else ours.T
        assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def site_of(kind):
    return Site("m", kind, Slot("w"), None, 3, 2, "m")


@pytest.mark.parametrize("kind", ["linear", "conv1d", "embedding"])
def test_moments_of_factors_by_hand(kind):
    """A: mean of x x^T over tokens, of trace 1; G: sum of d d^T an example, times the mean of |x|^2."""
    torch.manual_seed(0)
    ids, x, d = torch.tensor([0, 2, 2, 1, 0]), torch.randn(5, 3), torch.randn(5, 2)
    factors = Factors(site_of(kind), 2, owner=torch.tensor([0, 0, 0, 1, 1]), x=x, d=d, ids=ids)
    reader = type("R", (), {"read": lambda *_: iter([factors])})()
    book = type("B", (), {"reader": reader})()
    inner, outer = kronecker.moments(book, factors.site, ["a", "b"])
    if kind == "embedding":
        assert torch.allclose(inner, torch.tensor([0.4, 0.2, 0.4], dtype=torch.float64))
        size = 1.0
    else:
        mean = sum(torch.outer(row, row) for row in x.double()) / 5
        assert torch.allclose(inner, mean / mean.trace(), atol=1e-6)
        size = mean.trace()
    expected = size * sum(torch.outer(row, row) for row in d.double()) / 2
    assert torch.allclose(outer, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_moments_of_whole_records(kind):
    torch.manual_seed(0)
    whole = torch.randn(4, 2, 3).double()
    stored = (whole if kind == "linear" else whole.transpose(1, 2)).flatten(1)
    factors = Factors(site_of(kind), 4, dense=stored)
    book = type("B", (), {"reader": type("R", (), {"read": lambda *_: iter([factors])})()})()
    inner, outer = kronecker.moments(book, factors.site, list("abcd"))
    right = sum(m.T @ m for m in whole)
    assert torch.allclose(inner, right / right.trace())
    assert torch.allclose(outer, sum(m @ m.T for m in whole) / 4)
    one = whole[:1].expand(4, 2, 3)[:, :1] * torch.tensor([1.0, 0.0])[:, None]  # rank one: exact
    stored = (one if kind == "linear" else one.transpose(1, 2)).flatten(1)
    factors.dense = stored
    inner, outer = kronecker.moments(book, factors.site, list("abcd"))
    fisher = torch.kron(outer, inner)
    flat = one[0].flatten()
    assert torch.allclose(fisher, torch.outer(flat, flat))


def test_moments_do_not_depend_on_chunks(book, monkeypatch):
    """A record a chunk, as a small budget reads them, against all at once."""
    keys = book.reader.as_stored([(i, e) for i in IDS for e in (1, 2)])[1]
    sites = [site for site in book.reader.sites if site.weight and site.kind != "norm"]
    expected = [kronecker.moments(book, site, keys) for site in sites]
    monkeypatch.setattr("unlearnkit.ledger.reader.BUDGET", 1)
    assert len(list(book.reader.read(sites[0], keys))) == len(keys)
    for site, both in zip(sites, expected, strict=True):
        for ours, theirs in zip(kronecker.moments(book, site, keys), both, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6 * theirs.abs().max().item()), site


def test_moments_of_records_of_both_kinds():
    """Factors in two chunks with records kept whole between them: each kind counts by its records."""
    torch.manual_seed(0)
    x, d, whole = torch.randn(5, 3), torch.randn(5, 2), torch.randn(2, 6)
    site = site_of("linear")
    first = Factors(site, 1, owner=torch.zeros(3, dtype=torch.long), x=x[:3], d=d[:3])
    last = Factors(site, 1, owner=torch.zeros(2, dtype=torch.long), x=x[3:], d=d[3:])
    reader = type("R", (), {"read": lambda *_: iter([first, Factors(site, 2, dense=whole), last])})()
    inner, outer = kronecker.moments(type("B", (), {"reader": reader})(), site, list("abcd"))
    seen, matrices = (x.T @ x).double(), whole.view(2, 2, 3).double()
    right = sum(m.T @ m for m in matrices)
    assert torch.allclose(inner, seen / seen.trace() / 2 + right / right.trace() / 2, atol=1e-6)
    gradients = seen.trace() / 5 * (d.T @ d).double() + sum(m @ m.T for m in matrices)
    assert torch.allclose(outer, gradients / 4, atol=1e-5)


def test_biases_and_norms_have_mean_squares(book):
    summed, others = [(IDS[0], 1)], [(i, 2) for i in IDS[3:]]
    found = dict(kronecker.shaped(book, summed, others, "norms", lambda m: m))
    theirs = [book.gradient(i, 2, "norms") for i in IDS[3:]]
    for name, own in book.gradient(IDS[0], 1, "norms").items():
        squares = sum(t[name].square() for t in theirs) / len(theirs)
        assert torch.allclose(found[name], own * squares, rtol=1e-4, atol=1e-9), name
