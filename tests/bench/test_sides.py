"""Every side computes what it claims."""

import torch
from bench_helpers import autograd, worst

from unlearnkit.bench import sides
from unlearnkit.bench.cases import NAIVE, PLAIN, VMAP
from unlearnkit.bench.setting import Setting


def test_vmap_gives_autograds_gradients(setting, batch):
    expected = autograd(setting, batch)
    with sides.vmapped(setting) as turn:
        assert worst(turn(0), expected) < 1e-5


def test_every_side_takes_the_same_step(setting, tmp_path, monkeypatch):
    """One plain step's weights are what every side that steps on its own gradients arrives at."""
    first = setting.examples(0)
    monkeypatch.setattr(sides, "LEARNING_RATE", 0.1)
    monkeypatch.setattr("unlearnkit.bench.setting.LEARNING_RATE", 0.1)
    monkeypatch.setattr(Setting, "examples", lambda *_: first)
    start = {n: p.detach().clone() for n, p in setting.model.named_parameters()}
    every, moved = sides.every(setting, tmp_path, 1), {}
    for name in (PLAIN, "ledger fp16", NAIVE, VMAP):
        with torch.no_grad():
            for n, p in setting.model.named_parameters():
                p.copy_(start[n])
        with every[name].open() as turn:
            turn(0)
        moved[name] = {n: p.detach() - start[n] for n, p in setting.model.named_parameters()}
    for name in ("ledger fp16", NAIVE, VMAP):
        stacked = {n: d[None] for n, d in moved[name].items()}
        assert worst(stacked, [moved[PLAIN]]) < 1e-4, name
    assert max(d.abs().max() for d in moved[PLAIN].values()) > 1e-3
    assert not list(tmp_path.rglob("*.safetensors"))
