"""Settings on tiny models, and every benchmark's result on one of them."""

import json
import os
from unittest.mock import patch

import pytest
from bench_helpers import TINY

from unlearnkit.bench import adapters, cases, command, device, influence, memory, steps, unlearn
from unlearnkit.bench.cases import CASES, Options
from unlearnkit.bench.setting import Setting


@pytest.fixture(params=["gpt2", "llama"])
def setting(request, tiny_model):
    return Setting(tiny_model(request.param), 4, 8)


@pytest.fixture
def batch(setting, monkeypatch):
    """Without token 0, the padding token, whose gradient torch drops and peers keep; every turn is of it."""
    batch = setting.examples(3)
    batch.input_ids.clamp_(min=1)
    monkeypatch.setattr(Setting, "examples", lambda *_: batch)
    return batch


def in_this_process(function, *arguments, environment=()):
    with patch.dict(os.environ, environment):
        return function(*arguments)


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """Every benchmark on a tiny shape, under the names of the large ones; written to a folder."""
    folder = tmp_path_factory.mktemp("benchmarks")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNLEARNKIT_RUNS", str(tmp_path_factory.mktemp("bench-runs")))
        for module, name, value in (
            (influence, "TRAIN", 6),
            (influence, "QUERIES", 4),
            (unlearn, "SIZES", (24, 32)),
            (
                steps,
                "GROWS",
                {"parameters": [Options(TINY, 2, 4)], "tokens an example": [Options(TINY, 2, 8)]},
            ),
            (os, "sync", lambda: None),  # on a busy machine it takes seconds
            (memory, "SIZES", (16, 160)),
            (device, "MODELS", (TINY,)),
            (adapters, "in_child", in_this_process),
            (memory, "in_child", in_this_process),
            (steps, "in_child", in_this_process),
        ):
            patched.setattr(module, name, value)
        for what, case in CASES.items():
            result = json.loads(json.dumps(command.measure(what, Options(TINY, 4, 8, 1))))
            for model in case.models:
                (folder / f"{what}-{model}.json").write_text(json.dumps(result | {"model": model}))
    return folder


@pytest.fixture
def found(measured):
    return cases.load(measured)
