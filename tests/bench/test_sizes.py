"""What is stored, and how exactly."""

import pytest
from bench_helpers import autograd

from unlearnkit.bench import sizes
from unlearnkit.ledger import record_batches


def test_ledger_norms_are_autograds(setting, batch, tmp_path):
    book = record_batches(setting.model, [batch], tmp_path / "l", divisor=setting.batch)
    expected = [sum(g.square().sum() for g in one.values()).sqrt() for one in autograd(setting, batch)]
    assert book.norms(batch.ids).tolist() == pytest.approx([e.item() for e in expected], rel=1e-5)
    assert sizes.error(setting, tmp_path / "e", "float32") < 1e-5
    assert 1e-6 < sizes.error(setting, tmp_path / "f", "float16") < 1e-3


def test_bytes_by_kind_add_up(setting, tmp_path):
    stored = sizes.stored(setting, tmp_path)
    kinds = {r["kind"]: r for r in stored["bytes_by_kind"]}
    assert {"attention", "MLP", "norms", "token embedding", "output head"} <= set(kinds)
    assert sum(r["dense_bytes"] for r in kinds.values()) == setting.dense_bytes()
    total = sum(sum(r["parts"].values()) for r in kinds.values())
    (told,) = [r for r in stored["bytes_an_example"] if (r["tokens"], r["dtype"]) == (8, "float16")]
    assert 0.7 * told["bytes"] < total <= told["bytes"]  # the rest are headers and checksums
    assert len({r["tokens"] for r in stored["bytes_an_example"]}) == 3
