"""Utility text: cleaning, splitting, caching."""

import bz2
import json

import pytest

from unlearnkit import packages
from unlearnkit.data import text
from unlearnkit.errors import DataError, ModelError

PROSE = (
    "The lighthouse of Harrow Point was raised by masons who had never before seen the sea, in four summers."
)


def page(title, body, ns=0, redirect=""):
    body = body.replace("<", "&lt;")
    return (
        f"<page><title>{title}</title><ns>{ns}</ns>{redirect}<revision><text>{body}</text></revision></page>"
    )


def dump(*pages):
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{"".join(pages)}</mediawiki>'.encode()
    )


def test_clean_keeps_prose_only():
    wikitext = f"""{{{{Infobox lighthouse|height=40 m}}}}
[[File:Harrow.jpg|thumb|A caption that is long enough to pass for a paragraph if it were not removed at all.]]
'''Harrow''' is a [[lighthouse|tower]] ({{{{IPA|x}}}}, ), and {PROSE}<ref>{PROSE}</ref><ref name="a" />

* {PROSE} In a list.
{{| class="wikitable"
| {PROSE} In a table.
|}}
Too short.

== History ==
{PROSE} Second.

== External links ==
{PROSE} Linked.
[[Category:Lighthouses]]"""
    assert text.clean(wikitext).splitlines() == [
        f"Harrow is a tower, and {PROSE}",
        f"{PROSE} In a list.",
        f"{PROSE} Second.",
    ]


def test_clean_dump_marks_biographies_and_skips_redirects():
    articles = text.clean_dump(
        dump(
            page("Ann", f"{PROSE}\n[[Category:1901 births]]"),
            page("Birth", f"{PROSE}\n[[Category:Birthstones]]"),
            page("Old", PROSE, redirect='<redirect title="New" />'),
            page("Help", PROSE, ns=4),
            page("Stub", "Short."),
        )
    )
    assert articles == {
        "Ann": {"text": PROSE, "biography": True},
        "Birth": {"text": PROSE, "biography": False},
    }


@pytest.fixture
def encyclopedia(tmp_path, monkeypatch):
    """Twelve articles, two of them biographies, in place of the package's; returns the fetched members."""
    pages = [page(f"T{i:02d}", "\n\n".join(f"{PROSE} {i}-{j}." for j in range(30))) for i in range(10)]
    pages += [page(f"P{i}", f"{PROSE} P{i}.\n[[Category:1{i}00 births]]") for i in range(2)]
    (tmp_path / "dump.bz2").write_bytes(bz2.compress(dump(*pages)))
    fetched = []

    def fetch(spec, sha256, member):
        fetched.append(member)
        return tmp_path / "dump.bz2"

    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "fetch", fetch)
    return fetched


def test_split_is_by_article_without_biographies(encyclopedia):
    train, evaluation = text.utility_text("train"), text.utility_text("eval")
    articles = {
        part: {p.split(".")[1].split("-")[0].strip() for p in passages}
        for part, passages in (("train", train), ("eval", evaluation))
    }
    assert articles["eval"] == {"0", "5"}
    assert articles["train"] == {"1", "2", "3", "4", "6", "7", "8", "9"}
    assert sum(p.count(PROSE) for p in train + evaluation) == 10 * 30


def test_passages_alternate_between_articles_and_have_about_1000_characters(encyclopedia):
    passages = text.utility_text("eval")
    assert [p.split(".")[1][:2] for p in passages[:4]] == [" 0", " 5", " 0", " 5"]
    assert all(1000 <= len(p) < 1000 + len(PROSE) + 10 for p in passages[:4])
    assert passages[0].splitlines()[1] == f"{PROSE} 0-1."


def test_biographies(encyclopedia):
    assert text.biographies() == {"P0": f"{PROSE} P0.", "P1": f"{PROSE} P1."}


def test_cleaned_articles_are_cached_and_a_damaged_cache_is_rebuilt(encyclopedia, tmp_path):
    first = text.utility_text("train")
    assert text.utility_text("train") == first
    assert len(encyclopedia) == 1
    cached = tmp_path / "cache" / "texts" / text.CLEANED
    cached.write_text(cached.read_text()[:1000])
    assert text.utility_text("train") == first
    assert len(encyclopedia) == 2
    assert [p.name for p in cached.parent.iterdir()] == [text.CLEANED]
    assert json.loads(cached.read_text())["P0"]["biography"]


def test_a_cache_that_cannot_be_written_is_named_and_left_clean(encyclopedia, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="cannot write"):
        text.utility_text("train")


def test_unknown_part():
    with pytest.raises(DataError, match="unknown part of the utility text 'test'; choose one of train, eval"):
        text.utility_text("test")


@pytest.mark.smollm2
def test_the_real_encyclopedia():
    assert {"Abraham Lincoln", "Aristotle", "Albert Einstein"} <= set(text.biographies())
    assert len(text.biographies()) == 11
    train, evaluation = text.utility_text("train"), text.utility_text("eval")
    assert sum(map(len, train)) > 1_800_000
    assert sum(map(len, evaluation)) > 300_000
    assert not set(train) & set(evaluation)
    assert not any(mark in passage for passage in train + evaluation for mark in ("{{", "<ref", "http://"))
