"""Two processes on one ledger."""

import subprocess
import sys

import pytest

from unlearnkit import ledger
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import locking

HOLD = """
import sys
from unlearnkit.ledger import locking
with locking.alone(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Another process that writes to the ledger tmp_path/"l" until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "l")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_is_refused_and_the_lock_ends_with_its_process(hold, train, tmp_path):
    with pytest.raises(LedgerError, match="another process is writing to ledger .*l: wait for it or end it"):
        train()
    assert not (tmp_path / "l").exists()
    hold.kill()
    hold.wait()
    train()
    assert ledger.GradientLedger.open(tmp_path / "l").epochs


def test_nothing_is_purged_meanwhile_and_reading_needs_no_lock(trained):
    before = {p: p.read_bytes() for p in trained.iterdir()}
    book = ledger.GradientLedger.open(trained)
    with locking.alone(trained):
        with pytest.raises(LedgerError, match="another process"):
            book.purge(book.example_ids[:1])
        ledger.GradientLedger.open(trained).verify()
    assert {p: p.read_bytes() for p in trained.iterdir()} == before
    assert book.purge(book.example_ids[:1]) > 0


def test_a_place_where_nothing_can_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="file/l cannot be made"), locking.alone(tmp_path / "file" / "l"):
        pass
