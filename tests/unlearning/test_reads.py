"""What a method says that it reads of a training is what it reads: bytes kept and purges follow from it."""

import pytest
from unlearning_helpers import IDS, REQUEST, strength

from unlearnkit import unlearning
from unlearnkit.errors import MethodError
from unlearnkit.ledger.reader import Reader
from unlearnkit.ledger.store import Store
from unlearnkit.training import History
from unlearnkit.unlearning.frame import READS

READING = [n for n, m in unlearning.METHODS.items() if {"ledger", "checkpoints"} & set(m.needs)]


@pytest.fixture
def read(monkeypatch):
    """Kinds of READS that anything reads from now on, and the (id, epoch) of records."""
    kinds, keys = set(), set()

    def watched(owner, name, note):
        plain = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda self, *a, **k: note(*a) or plain(self, *a, **k))

    watched(Store, "read_moments", lambda *_: kinds.add("moments"))
    watched(History, "read_update", lambda *_: kinds.add("updates"))
    watched(Reader, "read", lambda _site, records, *_: keys.update(records))
    return kinds, keys


@pytest.mark.parametrize("name", READING)
def test_what_is_said_to_be_read_is_read(name, trained, read):
    kinds, keys = read
    method, epochs = unlearning.METHODS[name], trained.book.epochs
    given = trained.inputs(name)
    trained.apply(name, **strength(name, 0.1))
    if {i for i, _ in keys} - set(REQUEST):
        kinds.add("others")
    if "ledger" in method.needs:
        options = method.options_from({k: v for k, v in given.items() if k in method.options})
        wanted = [options["epoch"]] if "epoch" in options else options.get("epochs", "all")
        wanted = [1] if "first epoch" in method.reads else epochs if wanted == "all" else wanted
        assert {e for _, e in keys} == set(wanted)
        assert {i for i, _ in keys} <= set(IDS)
    assert kinds == set(method.reads) - {"first epoch", "factors"}  # of whichever kind the records are


def test_what_nothing_can_be_read_is_refused(own_methods):
    with pytest.raises(MethodError, match=f"'seconds' is none of {', '.join(READS)}"):
        unlearning.line(title="a slip", reads=("seconds",))(lambda inputs: iter(()))
