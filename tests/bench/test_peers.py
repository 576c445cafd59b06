"""Peers, where they are installed, compute the gradients and scores that they are compared for."""

import pytest
import torch
from bench_helpers import autograd, needs, worst

from unlearnkit.bench import peers
from unlearnkit.bench.setting import Setting
from unlearnkit.bench.timing import Unavailable


@needs("opacus")
def test_opacus_gives_autograds_gradients(setting, batch):
    expected = autograd(setting, batch)
    with peers.opacus(setting) as turn:
        found = turn(0)
    assert not setting.model.training
    assert worst(found, expected) < 1e-5


@needs("bergson")
def test_bergson_gives_autograds_gradients_of_linears(setting, tmp_path):
    collector = peers.bergson_collector(setting, tmp_path / "b")
    batch, kept = setting.examples(0), {}
    with collector.with_batch(torch.ones_like(batch.labels, dtype=torch.bool)):
        losses = setting.losses(batch)
        (losses.sum() / setting.batch).backward()
    for name, rows in collector.mod_grads.items():
        weight = setting.model.get_submodule(name).weight
        transposed = setting.model.config.model_type == "gpt2"  # Conv1D keeps its weight the other way round
        shape = tuple(reversed(weight.shape)) if transposed else tuple(weight.shape)
        grads = rows.float().view(len(rows), *shape)
        kept[f"{name}.weight"] = grads.transpose(1, 2) if transposed else grads
    assert len(kept) == len([n for n, p in setting.model.named_parameters() if p.dim() > 1]) - (
        2 if transposed else 1
    )
    assert worst(kept, autograd(setting, batch)) < 2e-3


@needs("kronfluence")
def test_kronfluence_identity_scores_are_dots_of_block_linears(tiny_model, tmp_path):
    setting = Setting(tiny_model("llama"), 4, 8)
    train, queries = setting.examples(1, 6, "t"), setting.examples(2, 3, "q")
    with peers.kronfluence(setting, train, queries, tmp_path / "k", "identity") as turn:
        found = turn(0)
    names = [f"{n}.weight" for n in peers.block_linears(setting.model)]
    assert len(names) == 3 * 7
    rows, columns = autograd(setting, train), autograd(setting, queries)
    expected = torch.tensor([[sum((a[n] * b[n]).sum() for n in names) for b in columns] for a in rows])
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max())


def test_a_model_without_linears_in_its_blocks_is_not_for_kronfluence(tiny_model):
    with pytest.raises(Unavailable, match="Conv1D"):
        peers.block_linears(tiny_model("gpt2"))
