"""The benchmark of adapters, on a small model of the same form."""

import json

import pytest

from unlearnkit import files
from unlearnkit.bench import adapters, cases, command, device
from unlearnkit.bench.cases import LEDGERS, PLAIN, Options
from unlearnkit.bench.setting import Setting

SMALL = Options("llama-shape-2x64-lora2", batch=8, tokens=12, rounds=1)


def test_adapters_are_all_that_is_trained_and_told():
    setting = Setting.make(SMALL)
    trained = [n for n, p in setting.model.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name in trained)
    found = adapters._adapters(SMALL)
    assert set(found["sides"]) == {PLAIN, "ledger fp16", "request from 24"}
    assert found["trained"] * 4 == found["dense_bytes"] == setting.dense_bytes()
    assert found["trained"] == sum(setting.model.get_parameter(n).numel() for n in trained)
    assert found["trained"] < found["parameters"] / 50
    assert found["relative_error"] < 1e-3
    assert found["peak_bytes"] > 4 * found["parameters"]


def test_a_device_is_measured_at_every_point_and_kept_apart(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "MODELS", (SMALL.model,))
    monkeypatch.setattr(adapters, "in_child", lambda function, *given: function(*given))
    assert device.DTYPES[SMALL.device] == ("float32",)
    monkeypatch.setitem(device.DTYPES, SMALL.device, device.DTYPES["cuda"])
    result = command.measure("device", SMALL)
    assert [point["dtype"] for point in result["points"]] == ["float32", "bfloat16"]
    for point, worst in zip(result["points"], (1e-3, 5e-2), strict=True):
        assert point["sides"][LEDGERS["float16"]]["ratio"] > 0
        assert point["relative_error"] < worst
    for name, place in {"a": "cpu", "b": "cuda"}.items():
        files.write_text(tmp_path / f"{name}.json", json.dumps(result | {"device": place}))
    assert set(cases.load(tmp_path)) == {("device", "shapes"), ("device", "shapes on cuda")}


def test_the_billion_is_one(monkeypatch):
    """Counted without making it."""
    import torch

    with torch.device("meta"):
        model = Setting.make(Options("llama-shape-1b-lora8")).model
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(1.24e9, rel=0.02)
