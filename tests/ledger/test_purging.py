"""Purged records are gone for good, and nothing else is."""

import shutil
from pathlib import Path

import pytest
from worlds import DAVE_IDS as IDS
from worlds import files_no_larger_than, gradients, require_same_ledgers, same

from unlearnkit import ledger
from unlearnkit.errors import LedgerError, RequestError
from unlearnkit.ledger.shard import Shard
from unlearnkit.ledger.store import Store


def traces(path: Path, needles: list[bytes]) -> list[str]:
    """Names of files that contain any of the needles."""
    return [p.name for p in path.iterdir() if any(n in p.read_bytes() for n in needles)]


def needles_of(path: Path, ids: list[str]) -> list[bytes]:
    """The ids, and everything that is stored of each but its positions, which count 0, 1, 2, ... for all."""
    found = [i.encode() for i in ids]
    for entry in Store.load(path).shards:
        shard = Shard(path / entry["file"], entry)
        for place in [k for k, i in enumerate(entry["examples"]) if i in ids]:
            own = [name for name in shard.names if name != "transformer.wpe/ids"]
            found += [bytes(shard.raw(name, [place])) for name in own]
    return found


@pytest.mark.parametrize("gone", [IDS[:1], IDS[2:5], IDS])
def test_purge_removes_the_bytes_and_nothing_else(gone, trained):
    before, needles = gradients(trained), needles_of(trained, gone)
    assert traces(trained, needles)
    book = ledger.GradientLedger.open(trained)
    size = sum(p.stat().st_size for p in trained.glob("*.safetensors"))
    freed = book.purge(gone)
    assert freed == size - sum(p.stat().st_size for p in trained.glob("*.safetensors")) > 0
    assert traces(trained, needles) == []
    for reader in (book, ledger.GradientLedger.open(trained)):
        reader.verify()
        assert reader.example_ids == [i for i in IDS if i not in gone]
        with pytest.raises(RequestError, match=gone[0]):
            reader.sum(gone)
    require_same_ledgers(gradients(trained), {k: g for k, g in before.items() if k[0] not in gone})


def test_purges_one_after_another(trained):
    before = gradients(trained)
    book = ledger.GradientLedger.open(trained)
    for example in IDS[:5]:
        book.purge([example])
    require_same_ledgers(gradients(trained), {k: g for k, g in before.items() if k[0] in IDS[5:]})
    assert traces(trained, [i.encode() for i in IDS[:5]]) == []


@pytest.mark.parametrize("failure", [None, LedgerError("no room for the index"), KeyboardInterrupt("stop")])
def test_a_failed_purge_leaves_the_old_ledger(failure, trained, monkeypatch):
    before = gradients(trained)
    names = {p.name for p in trained.iterdir()}
    book = ledger.GradientLedger.open(trained)
    if failure:

        def fail(*_, **__):
            raise failure

        monkeypatch.setattr(Store, "publish", fail)
    room = files_no_larger_than(1 << 30 if failure else 20_000)
    expected = failure or LedgerError("the purged ledger could not be written .* Nothing is purged yet")
    with pytest.raises(type(expected), match=str(expected)), room:
        book.purge(IDS[:2])
    assert {p.name for p in trained.iterdir()} == names
    book.verify()
    assert same(book.gradient(IDS[0], 2), before[IDS[0], 2])  # the open book goes on reading the old one
    require_same_ledgers(gradients(trained), before)


def test_a_purge_deletes_no_file_but_the_ledger_s(trained):
    theirs = ("model.safetensors", "epoch-001.safetensors", "e-book.safetensors", "thesis.pdf.partial")
    for name in (*theirs, "moments-009.safetensors", "index.json.77.partial", "e009-000009pp.safetensors"):
        (trained / name).write_bytes(b"kept")
    ledger.GradientLedger.open(trained).purge(IDS[:1])
    ledger.GradientLedger.open(trained).verify()
    assert {p.name for p in trained.iterdir() if p.read_bytes() == b"kept"} == set(theirs)


def test_a_purge_killed_before_its_last_deletion_is_noticed(trained, tmp_path):
    """The new index is out, the old shards are still there: reads are right, verify says what is left."""
    shutil.copytree(trained, tmp_path / "before")
    book = ledger.GradientLedger.open(trained)
    book.purge(IDS[:1])
    after = gradients(trained)
    for path in (tmp_path / "before").glob("e*"):
        shutil.copy(path, trained)
    require_same_ledgers(gradients(trained), after)
    with pytest.raises(LedgerError, match=r"holds e001-000000.safetensors, which its index does not name"):
        book.verify()
    book.purge(IDS[1:2])
    book.verify()
    assert traces(trained, [i.encode() for i in IDS[:2]]) == []
