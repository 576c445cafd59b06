"""Shard files: damaged, cut, exchanged; and read in any order."""

import json
import os
import random
import shutil

import pytest
import torch
from safetensors import safe_open
from worlds import DAVE_IDS as IDS
from worlds import (
    flip,
    gradients,
    relative_error,
    require_same_ledgers,
    same,
)

from unlearnkit import ledger
from unlearnkit.errors import LedgerError
from unlearnkit.ledger.shard import Shard
from unlearnkit.ledger.store import Store


def parts_of(shard: Shard) -> list[tuple[int, int, str]]:
    """(first byte, last byte, example) of each stored part of a shard file."""
    found = []
    for name in shard.names:
        begin, end = shard.header[name]["data_offsets"]
        rows = shard.lengths(shard.rows_of[name])
        row_bytes = (end - begin) // rows.sum()
        at = shard.start + begin
        for example, count in zip(shard.examples, rows * row_bytes, strict=True):
            found.append((at, at + int(count) - 1, example))
            at += int(count)
        assert at == shard.start + end
    return found


def test_a_flipped_byte_anywhere_in_the_data_names_shard_and_example(trained):
    before = gradients(trained)
    entry = Store.load(trained).shards[1]
    file = trained / entry["file"]
    shard = Shard(file, entry)
    chosen = random.Random(3).sample(parts_of(shard), 60)
    for first, last, example in chosen:
        place = random.Random(first).randint(first, last)
        flip(file, place)
        book = ledger.GradientLedger.open(trained)
        with pytest.raises(LedgerError, match=rf"shard {file.name} .*example '{example}'"):
            book.verify()
        with pytest.raises(LedgerError, match=rf"shard {file.name} .*example '{example}'"):
            book.gradient(example, entry["epoch"])
        with pytest.raises(LedgerError, match=example):
            book.dot([example], [example], entry["epoch"], entry["epoch"])
        other = next(i for i in IDS if i != example)
        assert same(book.gradient(other, entry["epoch"]), before[other, entry["epoch"]])
        flip(file, place)
    require_same_ledgers(gradients(trained), before)


@pytest.mark.parametrize("mask", [0xFF, 0x01])
def test_a_flipped_byte_in_the_front_names_the_shard(trained, mask):
    """Header length, header, padding and tables."""
    entry = Store.load(trained).shards[0]
    file = trained / entry["file"]
    shard = Shard(file, entry)
    tables_end = shard.start + shard.header["checksums"]["data_offsets"][1]
    rest = random.Random(4).sample(range(16, tables_end), 150)
    for place in (*range(16), shard.start - 1, shard.start, tables_end - 1, *rest):
        flip(file, place, mask)
        book = ledger.GradientLedger.open(trained)
        example = entry["examples"][0]
        for act in (book.verify, lambda book=book, e=example: book.gradient(e, entry["epoch"])):
            with pytest.raises(LedgerError, match=rf"shard {file.name} has a damaged header.*{example}"):
                act()
        flip(file, place, mask)
    ledger.GradientLedger.open(trained).verify()


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 1.0])
def test_a_truncated_or_lengthened_shard(trained, keep):
    entry = Store.load(trained).shards[-1]
    file, example, size = trained / entry["file"], entry["examples"][0], entry["bytes"]
    os.truncate(file, size + 1 if keep == 1 else int(keep * size))
    book = ledger.GradientLedger.open(trained)
    for act in (book.verify, lambda: book.sum(IDS, "all")):
        with pytest.raises(LedgerError, match=rf"{file.name} holds .* bytes instead of {size:,}.*{example}"):
            act()
    assert book.sum(IDS, 1)  # the other shards are still good


def test_a_missing_shard(trained):
    entry = Store.load(trained).shards[1]
    file, example, epoch = trained / entry["file"], entry["examples"][0], entry["epoch"]
    file.unlink()
    book = ledger.GradientLedger.open(trained)
    for act in (book.verify, lambda: book.gradient(example, epoch)):
        with pytest.raises(LedgerError, match=rf"{file.name} cannot be opened \(No such file.*{example}"):
            act()


def test_an_exchanged_shard_is_noticed(trained):
    """A whole, valid shard in another's place is not that shard."""
    first, second = (trained / s["file"] for s in Store.load(trained).shards[:2])
    shutil.copy(second, first)
    with pytest.raises(LedgerError, match=first.name):
        ledger.GradientLedger.open(trained).verify()


def test_plain_safetensors_opens_every_shard(trained):
    for entry in Store.load(trained).shards:
        with safe_open(trained / entry["file"], "pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a mapping)
            rows = json.loads(file.metadata()["rows"])
        totals = dict(zip(("live", "targets", "one"), tensors["offsets"][:, -1].tolist(), strict=True))
        assert totals["one"] == len(entry["examples"])
        assert tensors.keys() == {*rows, "offsets", "exponents", "checksums"}
        assert all(len(tensors[name]) == totals[rows[name]] for name in rows)
        assert tensors["transformer.wte/d"].shape == (totals["live"], 16)
        assert tensors["transformer.wte/d"].dtype == torch.float16
        assert tensors["transformer.ln_f/weight"].dtype == torch.float32


@pytest.mark.parametrize("gap_bytes", [-1, 1 << 30])
def test_requests_in_any_order_with_gaps_and_repeats(gap_bytes, trained, monkeypatch):
    """However the records lie on disk, and whether those between are read over or skipped."""
    book = ledger.GradientLedger.open(trained)
    dots = book.dot(IDS, IDS)
    monkeypatch.setattr(ledger.shard, "GAP_BYTES", gap_bytes)
    rows, columns = [5, 0, 3, 0], [4, 5, 1, 5]
    asked = book.dot([IDS[k] for k in rows], [IDS[k] for k in columns])
    assert torch.allclose(asked, dots[rows][:, columns], rtol=1e-4, atol=1e-6)
    alone = [book.gradient(IDS[k], 2) for k in (5, 0, 5)]
    total = {n: sum(a[n] for a in alone) for n in alone[0]}
    assert relative_error(book.sum([IDS[5], IDS[0], IDS[5]], (2,)), total) < 1e-6
