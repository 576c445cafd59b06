"""The page says what the manifest says, and takes no name for a tag."""

import copy
from html.parser import HTMLParser

import pytest

from unlearnkit.publishing.leaflet import page

GROUP = {"facts": 2, "nll_before": 0.25, "nll_after": 0.5, "recalled_before": 2, "recalled_after": 1}
TOLD = {
    "when": "2026-01-02T03:04:05Z",
    "facts": [{"id": "<b>bold</b>", "sha256": "00"}],
    "asked_by": "A & B",
    "verdict": "passed",
    "method": {
        "name": "npo", "title": "NPO", "version": 3, "options": {"lr": 0.1}, "norm": 0.5, "share": 0.01,
        "moved": "weights", "retain_seen": True,
    },
    "ledger": None,
    "tests": {
        "forget": GROUP
        | {"nll_after": 4.0, "level": 3.5, "level_is": "strangers", "at_level": 1, "lowest": 3.0},
        "retain": GROUP,
        "neighbours": GROUP,
        "text": {"perplexity_before": 20.0, "perplexity_after": 21.0},
    },
    "not_shown": ["that 1 < 2"],
}  # fmt: skip


class Tags(HTMLParser):
    """What is open, and what was said."""

    def __init__(self):
        super().__init__()
        self.open, self.said = [], []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def read(**changes):
    tags = Tags()
    tags.feed(page(TOLD | changes, "ab" * 32))
    assert tags.open == []
    return " ".join(" ".join(tags.said).split())


def test_it_says_all_of_it():
    said = read()
    for part in (
        "with the ids <b>bold</b>", "by A & B", "NPO (npo, version 3); options: lr = 0.1", "passed",
        "reach the level of 3.50 nats, which is that of strangers", "1 of 2 reach it", "at 3.00",
        "The weights moved by 0.5, 1.00% of the length of all weights",
        "20.0 before, 21.0 after", "that 1 < 2", "ab" * 32, "No ledger of the training was given",
    ):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        ({"from": "this request's training", "purged": True}, "was deleted with all its files"),
        ({"from": "given", "purged": False}, "whoever has it can bring the facts back"),
        ({"from": "given", "purged": False, "to_purge": True}, "was to be purged once this was written"),
        ({"from": "given", "purged": True, "traces": 0}, "found no bytes of them"),
        ({"from": "given", "purged": True, "traces": 64}, "found 64 bytes of them"),
    ],
)
def test_what_became_of_the_ledger(ledger, words):
    assert words in read(ledger=ledger)


def test_what_did_not_reach_the_level_is_told_so():
    tests = copy.deepcopy(TOLD["tests"])
    tests["forget"]["nll_after"] = 3.0
    said = read(verdict="not passed", tests=tests)
    assert "not passed" in said
    assert "do not reach the level" in said


def test_what_moved_is_told():
    method = TOLD["method"] | {"moved": "weights of the adapters, before these were merged,"}
    assert "weights of the adapters, before these were merged, moved by 0.5" in read(method=method)
