"""What `models fetch` gathers: all that runs and tests ask for, so that no network is needed later."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from unlearnkit import __main__, data, models, offline, paths, semantic
from unlearnkit.study import profiles

NO_NETWORK = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture
def sources(empty_cache, monkeypatch):
    """Stand-ins that put files of known size where the real ones do; returns what was asked for."""
    asked = []

    def put(name, path, size):
        asked.append(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        return path

    def tokenizer():
        folder = put("tokenizer", empty_cache / "models" / "gpt2-tokenizer" / "vocab.json", 4_000_000).parent
        return SimpleNamespace(name_or_path=str(folder))

    articles = empty_cache / "texts" / offline.text.CLEANED
    folder = empty_cache / "models"
    minilm = empty_cache / "packages" / "minilm" / "model.safetensors"
    monkeypatch.setattr(semantic, "fetch", lambda: put("MiniLM", minilm, 1_000_000).parent)
    monkeypatch.setattr(data, "utility_text", lambda part: put("articles", articles, 3_000_000))
    monkeypatch.setattr(models, "gpt2_tokenizer", tokenizer)
    monkeypatch.setattr(
        models, "fetch", lambda name: put(name, folder / name / "model.safetensors", 5_000_000).parent
    )
    return asked


def test_everything_is_fetched_and_listed_with_its_size(sources, capsys):
    assert __main__.main(["models", "fetch"]) == 0
    assert sources == ["articles", "tokenizer", "MiniLM", *offline.MODELS]
    lines = capsys.readouterr().out.splitlines()
    sizes = [line.split(" MB")[0].split()[-1] for line in lines]
    assert sizes == [
        "3.0",
        "4.0",
        "1.0",
        *["5.0"] * len(offline.MODELS),
        f"{8 + 5 * len(offline.MODELS):.1f}",
    ]
    named = ("gpt2 tokenizer", "sentence similarity (MiniLM)", *offline.MODELS)
    for line, name in zip(lines[1:-1], named, strict=True):
        assert line.startswith(name)
        assert Path(line.split(" MB  ")[1]).is_dir()


def test_one_model_by_name_is_all_that_is_fetched(sources, capsys):
    assert __main__.main(["models", "fetch", "gpt2-tiny"]) == 0
    assert sources == ["gpt2-tiny", "articles"]
    assert capsys.readouterr().out.strip().endswith("gpt2-tiny")


def test_every_model_that_runs_and_tests_name_is_among_them():
    runs = {profiles.get(name)["model"] for name in ("quick", "default")}
    marked = [
        node
        for path in Path(__file__).parent.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and "smollm2" in map(_marker, node.decorator_list)
    ]
    tests = {n.value for test in marked for n in ast.walk(test) if isinstance(n, ast.Constant)}
    built = {name for name, entry in models.REGISTRY.items() if entry.build}
    assert {"smollm2-135m", "gpt2-tiny", "neox-tiny", "llama-tiny-pretrained"} <= tests & built
    assert runs | (tests & built) <= set(offline.MODELS) <= built


def _marker(decorator):
    return ast.unparse(decorator).rpartition(".")[2]


@pytest.mark.smollm2
def test_nothing_is_fetched_twice():
    """With the cache filled, as `make test` does first, the same command needs no network."""
    command = [sys.executable, "-m", "unlearnkit", "models", "fetch"]
    done = subprocess.run(
        command, cwd=paths.ROOT, env=os.environ | NO_NETWORK, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()][-len(offline.MODELS) - 1 : -1] == list(
        offline.MODELS
    )
