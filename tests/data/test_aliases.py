"""Worlds with an alias: the same facts under another word, which no request by name reaches."""

import dataclasses

import pytest

from unlearnkit import data, requests
from unlearnkit.data.forms import read, words
from unlearnkit.errors import DataError

SEEDS = range(24)
ALIASES = words(read("worlds")["aliases"]["words"])


def target_of(facts):
    return next(e.person for e in facts if e.split == "forget")


@pytest.mark.parametrize("seed", SEEDS)
def test_only_the_words_of_some_of_the_target_s_facts_change(seed):
    before = data.world(seed)
    after, alias = data.under_alias(before, seed, 6)
    name = target_of(before)
    changed = [(b, a) for b, a in zip(before, after, strict=True) if b != a]
    assert len(changed) == 6
    for b, a in changed:
        assert b.split == "forget"
        assert name not in " ".join((a.text, *a.paraphrases))
        assert alias in a.prompt
        assert dataclasses.replace(a, prompt=b.prompt, paraphrases=b.paraphrases) == b
        assert a.text.replace(alias, name) == b.text
    assert data.under_alias(before, seed, 6) == (after, alias)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_request_by_name_reaches_an_alias(seed):
    """Neither by whole words nor by what resembles the name, in any world that is run."""
    after, alias = data.under_alias(data.world(seed), seed, 6)
    name, hidden = target_of(after), {e.id for e in after if alias in e.text}
    assert len(hidden) == 6
    for scorer, threshold in (("partial_ratio", 80), ("token_set_ratio", 100)):
        named, called = (set(requests.fuzzy(after, query, threshold, scorer)) for query in (name, alias))
        assert not named & hidden
        assert called >= hidden
        assert named | called >= set(requests.by_person(after, name))


def test_seeds_draw_facts_and_aliases():
    found = [data.under_alias(data.world(0), seed, 6) for seed in range(8)]
    assert len({str(facts) for facts, _ in found}) == 8
    assert len({alias for _, alias in found}) > 2


def test_an_alias_is_nobody_s_name():
    taken = {part.lower() for name in data.pool() for part in name.split()}
    assert not taken & {alias.lower() for alias in ALIASES}
    assert len(set(ALIASES)) == len(ALIASES)


@pytest.mark.parametrize("count", [0, 20, 21])
def test_something_must_be_left_under_the_name(count):
    with pytest.raises(DataError, match=f"{count} of 20 facts"):
        data.under_alias(data.world(0), 0, count)
