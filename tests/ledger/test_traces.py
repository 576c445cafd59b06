"""A purge is proved by what no file holds any more; what is left, wherever it lies, is found."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from worlds import DAVE_IDS as IDS
from worlds import RECIPE

from unlearnkit.errors import RequestError
from unlearnkit.ledger import GradientLedger, traces
from unlearnkit.ledger.shard import Shard
from unlearnkit.ledger.store import Store
from unlearnkit.ledger.traces import BLOCK, STRIDE, WINDOW, Fingerprints, find, fingerprints

ADAMW = dataclasses.replace(RECIPE, optimizer="adamw", lr=1e-3)


def records(path, ids):
    """(name, bytes) of every stored tensor of these examples."""
    for entry in Store.load(path).shards:
        shard = Shard(path / entry["file"], entry)
        for place, example in enumerate(entry["examples"]):
            if example in ids:
                for name in shard.names:
                    yield name, bytes(shard.raw(name, [place]))


def kinds(found):
    return {trace.what for trace in found}


@pytest.mark.parametrize("gone", [IDS[:1], IDS[2:5], IDS])
@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_found_before_and_not_after(gone, arch, train, tmp_path):
    train(arch=arch, recipe=ADAMW)
    wanted = fingerprints(tmp_path / "l", gone)
    before = find(tmp_path / "l", wanted)
    files = {trace.file.name for trace in before}
    assert kinds(before) == {"name", "numbers"}
    assert files > {"index.json", "moments-001.safetensors"}
    assert len([name for name in files if name.startswith("e0")]) >= 3  # of every epoch
    GradientLedger.open(tmp_path / "l").purge(gone)
    assert find(tmp_path, wanted) == []


def test_a_trace_is_where_it_is_said_to_be(trained):
    for trace in find(trained, fingerprints(trained, IDS[:1])):
        part = trace.file.read_bytes()[trace.offset : trace.offset + trace.length]
        if trace.what == "name":
            assert part in (IDS[0].encode(), f'"{IDS[0]}"'.encode())
        else:
            assert any(part[:16] in record for _, record in records(trained, IDS[:1]))


def test_any_window_of_a_long_record_is_found(trained, tmp_path):
    """Wherever it is cut, and wherever in a file it lies; of a record that shares nothing with others'."""
    wanted = fingerprints(trained, IDS)
    record = max((r for _, r in records(trained, IDS[:1])), key=len)
    GradientLedger.open(trained).purge(IDS)
    left, rng = trained / "notes" / "left.bin", np.random.default_rng(0)
    left.parent.mkdir()
    for cut in rng.integers(0, len(record) - WINDOW, 40):
        before = rng.bytes(int(rng.integers(0, 100)))
        left.write_bytes(before + record[cut : cut + WINDOW] + rng.bytes(50))
        (trace,) = find(trained, wanted)
        assert trace.file == left
        assert len(before) <= trace.offset <= len(before) + BLOCK


def test_the_token_ids_are_found_as_stored(trained):
    """They are the text itself: whoever has the tokenizer reads them."""
    wanted = fingerprints(trained, IDS[:1])
    tokens = {r for name, r in records(trained, IDS[:1]) if name == "transformer.wte/ids"}
    (spelt,) = tokens  # the same in every epoch
    GradientLedger.open(trained).purge(IDS[:1])
    (trained / "a copy").write_bytes(b"?" + spelt)
    (trace, *_) = find(trained, wanted)
    assert (trace.file.name, trace.offset) == ("a copy", 1)


@pytest.mark.parametrize("what", ["shard", "moments", "index"])
def test_a_file_left_beside_is_found(what, train, tmp_path):
    train(recipe=ADAMW)
    folder = tmp_path / "l"
    name = {"shard": "e002-*", "moments": "moments-002*", "index": "index.json"}[what]
    copy = shutil.copy(next(iter(sorted(folder.glob(name)))), tmp_path / "backup")
    wanted = fingerprints(folder, IDS[:2])
    GradientLedger.open(folder).purge(IDS[:2])
    assert find(folder, wanted) == []
    shutil.copy(copy, folder / "forgotten.tmp")
    assert {trace.file.name for trace in find(folder, wanted)} == {"forgotten.tmp"}


def test_a_stretch_of_second_moments_is_found(train, tmp_path):
    train(recipe=ADAMW)
    folder, rng = tmp_path / "l", np.random.default_rng(0)
    wanted = fingerprints(folder, IDS[:1])
    matrix = max((t for _, t in Store.load(folder).read_moments(1)), key=lambda t: t.numel())
    data = matrix.flatten().view(torch.uint8).numpy().tobytes()
    GradientLedger.open(folder).purge(IDS[:1])
    assert len(data) > STRIDE + BLOCK
    (folder / "cut").write_bytes(rng.bytes(7) + data[1 : STRIDE + 1 + BLOCK])
    assert kinds(find(folder, wanted)) == {"numbers"}


def test_what_others_hold_too_is_theirs(trained):
    """Facts with a common beginning share activations in a step: these stay, with whoever is left."""
    wanted = fingerprints(trained, IDS[:1])
    own, others = ([np.frombuffer(r, np.uint8) for _, r in records(trained, i)] for i in (IDS[:1], IDS[1:]))
    blocks = {h for r in own if len(r) >= WINDOW for h in traces._blocks(r, BLOCK).tolist()}
    shared = blocks - set(wanted.blocks.tolist())
    assert 0 < len(shared) < len(blocks)
    assert shared <= {h for r in others if len(r) >= BLOCK for h in traces._hashes(r).tolist()}


@pytest.mark.parametrize("size", [BLOCK, 100, 1000])
def test_the_rolling_hash_is_that_of_each_block_alone(size):
    data = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    alone = [traces._hashes(data[k : k + BLOCK])[0] for k in range(size - BLOCK + 1)]
    assert traces._hashes(data).tolist() == alone
    base, expected = traces.BASE, 0
    for byte in data[:BLOCK].tolist():
        expected = (expected * base + byte) % 2**64  # Horner's rule in whole numbers
    assert alone[0] == expected


def test_chunks_hide_nothing(trained, monkeypatch):
    """The same bytes are found whatever is read at a time."""
    wanted = fingerprints(trained, IDS[:1])
    whole = find(trained, wanted)
    monkeypatch.setattr(traces, "CHUNK", 1000)

    def covered(found):
        return {(t.file, k) for t in found for k in range(t.offset, t.offset + t.length)}

    assert covered(find(trained, wanted)) == covered(whole)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"examples": ["line-1", "x"]}', ['"line-1"']),
        ("id,nll\nline-1,2.5\n", ["line-1"]),
        ('["line-12", "line-1#2", "outline-1"]', []),
        ('["f0"]', ['"f0"']),
        ("f0 and f0.txt, 'f0'", []),  # too short to be told from chance
        ('{"caf\\u00e9": 1}', ['"caf\\u00e9"']),
        ('{"café": 1}', ['"café"']),
    ],
)
def test_names_are_found_as_words_of_their_own(text, found, tmp_path):
    names = traces._names(["line-1", "f0", "café"], ["line-12", "line-1#2"])
    (tmp_path / "file").write_text(text)
    wanted = Fingerprints(*names, (), np.zeros(0, np.uint64))
    data = text.encode()
    assert [data[t.offset : t.offset + t.length].decode() for t in find(tmp_path, wanted)] == found


@pytest.mark.parametrize("number", [b"\0", b"\x00\x3c", b"\1\2\3\4", b"\0\0\0\0\0\x80\0\0\0\x80"])
def test_repetitions_and_zeros_of_either_sign_say_nothing(number):
    assert len(traces._blocks(np.frombuffer(number * 100, np.uint8), BLOCK)) == 0


def test_unknown_examples_are_refused(trained):
    with pytest.raises(RequestError, match="holds no records of 'nobody'"):
        fingerprints(trained, ["nobody"])
