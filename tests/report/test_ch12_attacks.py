"""Attacks on a tiny model, as the page makes them: what was kept brings facts back, a purge ends it."""

import pytest

from unlearnkit import unlearning
from unlearnkit.errors import LedgerError
from unlearnkit.report import ch12_attacks as chapter


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return chapter.example(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def found(kept):
    return chapter.brought_back(kept)


def test_what_was_kept_brings_the_facts_back(found):
    assert chapter.as_told(found)
    table = found.set_index(["kept", "model"])
    unlearned, oracle = table.loc[chapter.NOTHING, "nll"]
    assert unlearned >= oracle > 3
    assert table.loc[(chapter.LEDGER, chapter.UNLEARNED), "nll"] < 1
    assert (table.loc[chapter.WEIGHTS, "nll"] < 1).all()


def test_the_refusals_name_who_was_purged_and_no_folder(found, kept):
    refused = found.loc[found["kept"] == chapter.PURGED, "refused"]
    assert len(refused) == 3
    assert all(kept.ids[0] in why and str(kept.book.store.path) not in why for why in refused)
    assert found.loc[found["kept"] == chapter.PURGED, ["nll", "recalled"]].isna().all(axis=None)


def test_the_table_is_coarse(found, kept):
    told = chapter.attack_table(found, len(kept.forget))
    assert list(told["kept"].unique()) == [chapter.NOTHING, chapter.WEIGHTS, chapter.LEDGER, chapter.PURGED]
    said = told.set_index(["kept", "beside which model"])["said, or read, word for word"]
    assert said[chapter.NOTHING, chapter.UNLEARNED] == "0 of 6"
    assert said[chapter.LEDGER, chapter.NO_MODEL] == "6 of 6, all but the last token"
    assert said[chapter.PURGED, chapter.NO_MODEL].startswith("refused: 6 ids are not in ledger")
    assert told["NLL, nats a token"].iloc[-1] == "–"


def test_nobody_s_updates_can_be_replayed_after_a_purge(found, kept):
    (other, *_) = set(kept.book.example_ids) - set(kept.ids)
    with pytest.raises(LedgerError, match="second moments"):
        unlearning.apply(chapter.METHOD, kept.before, request=other, ledger=kept.book, alpha=0.1)


def test_what_is_not_as_told_is_seen(found):
    refused_nothing = found.assign(refused="")
    said_nothing = found.assign(recalled=0.0)
    assert not chapter.as_told(refused_nothing)
    assert not chapter.as_told(said_nothing)
