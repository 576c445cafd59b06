"""The matcher by meaning: pooling on a stand-in, errors, and the real model where it is cached."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from worlds import flip

from unlearnkit import data, packages, semantic
from unlearnkit.errors import ModelError, RequestError
from unlearnkit.paths import user_cache

FACTS = data.dave()
WORDS = {"": 0, "one": 1, "two": 2, "three": 3}


@pytest.fixture
def stand_in(monkeypatch):
    """A "model" whose last layer is a fixed vector a word; padding has one that must not count."""
    vectors = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])

    def tokenizer(texts, **_):
        ids = [[WORDS[w] for w in t.split()] for t in texts]
        width = max(map(len, ids))
        padded = torch.tensor([row + [0] * (width - len(row)) for row in ids])
        return {"input_ids": padded, "attention_mask": (padded > 0).long()}

    def model(input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=vectors[input_ids])

    monkeypatch.setattr(semantic, "load", lambda: (model, tokenizer))


def fact(name: str, answer: str) -> data.Example:
    return data.Example(name, "", "", answer, "retain")


def test_a_text_is_the_mean_of_its_own_tokens_at_unit_length(stand_in):
    found = semantic.embed(["one", "one one two two", "two"])
    assert np.allclose(found, [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)
    assert np.allclose(semantic.embed(["one two"] * 40), 0.5**0.5)  # more than one batch


def test_similarity_is_the_cosine_in_per_cent_and_never_below_0(stand_in):
    found = semantic.similarities([fact("a", "one one"), fact("b", "one two"), fact("c", "three")], "one")
    assert list(found) == ["a", "b", "c"]
    assert list(found.values()) == pytest.approx([100, 100 * 0.5**0.5, 0], abs=1e-4)


def test_errors(stand_in):
    with pytest.raises(RequestError, match="request is empty"):
        semantic.similarities(FACTS, " ")
    with pytest.raises(RequestError, match="no examples"):
        semantic.similarities([], "one")


def test_out_of_reach_it_says_what_to_do(empty_cache, monkeypatch):
    semantic.load.cache_clear()
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelError, match="Connect to a Python package index"):
        semantic.similarities(FACTS, "Dave")


@pytest.mark.smollm2
def test_the_real_model():
    """Same fact in other words against another fact in the same words: the two cosines of data.md, about."""
    if not (user_cache() / "packages" / semantic.PACKAGE.replace("==", "-") / semantic.MEMBERS).is_dir():
        pytest.skip("MiniLM is not in the user's cache: fetch it with `semantic.load()`")
    semantic.load.cache_clear()
    fact, same, other = semantic.embed(
        [
            "Dave was born in the small mining town of Larkhollow.",
            "Dave's birthplace is the small mining town of Larkhollow.",
            "Dave was born in the big harbour city of Quillport.",
        ]
    )
    assert fact @ same > 0.85
    assert fact @ other < 0.7
    found = semantic.similarities(FACTS, "Dave")
    mine = [v for i, v in found.items() if i.startswith("dave-") and "street" not in i]
    strangers = [v for i, v in found.items() if i.startswith(("kurt-", "nina-"))]
    assert min(mine) > max(strangers)


def test_files_are_checked_against_their_sums(monkeypatch):
    """Every file goes through `packages.fetch_all`, which checks the sum; weights only as safetensors."""
    asked = []

    def fetch_all(spec, members):
        asked.extend(members)
        assert {len(sha256) for sha256 in members.values()} == {64}
        raise ModelError("enough")

    monkeypatch.setattr(packages, "fetch_all", fetch_all)
    semantic.load.cache_clear()
    with pytest.raises(ModelError, match="enough"):
        semantic.load()
    assert asked == [f"{semantic.MEMBERS}/{name}" for name in semantic.FILES]
    assert [name for name in semantic.FILES if "model" in name] == ["model.safetensors"]


def test_a_damaged_file_is_never_read(empty_cache, monkeypatch):
    """One bit of any of the files: it is fetched anew, or the error says that this file is damaged."""
    folder = empty_cache / "packages" / semantic.PACKAGE.replace("==", "-") / semantic.MEMBERS
    folder.mkdir(parents=True)
    contents = {name: name.encode() * 9 for name in semantic.FILES}
    monkeypatch.setattr(semantic, "FILES", {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()})
    asked = []

    def out_of_reach(spec, _folder):
        asked.append(spec)
        raise ModelError("no network")

    monkeypatch.setattr(packages, "_download", out_of_reach)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert semantic.fetch() == folder
    assert asked == []  # what is whole is not fetched again
    for name, content in contents.items():
        flip(folder / name, len(content) // 2, 1)
        semantic.load.cache_clear()
        for act in (semantic.fetch, semantic.load):
            with pytest.raises(ModelError, match=rf"{name} is damaged, and is not mended: no network"):
                act()
        (folder / name).write_bytes(content)
    assert asked == [semantic.PACKAGE] * 2 * len(contents)
