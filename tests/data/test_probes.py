"""Probes: two hops, aliases, two persons in one query."""

import re
from dataclasses import replace

import pytest

from unlearnkit import data
from unlearnkit.data.aliases import alias_of
from unlearnkit.data.probes import KINDS
from unlearnkit.errors import DataError

SEEDS = range(24)


def target_of(facts):
    return [e for e in facts if e.split == "forget"]


def names(text, person):
    return bool(re.search(rf"(?<!\w){re.escape(person)}(?!\w)", text))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_prompt_was_trained_and_every_answer_is_the_target_s(seed):
    facts = data.world(seed)
    trained, mine = {e.prompt for e in facts}, target_of(facts)
    found = data.asked_otherwise(facts, seed)
    assert set(found) == set(KINDS)
    for kind, probes in found.items():
        assert [p.id for p in probes] == [f"{e.id}/{kind}" for e in mine]
        assert [(p.answer, p.contradiction, p.person) for p in probes] == [
            (e.answer, e.contradiction, e.person) for e in mine
        ]
        prompts = [p.prompt for p in probes]
        assert len(set(prompts)) == len(prompts)
        assert not trained & set(prompts)
        assert not {p for e in facts for p in e.paraphrases} & set(prompts)
        for probe in probes:
            assert probe.answer not in probe.prompt
            assert probe.paraphrases == ()
            assert probe.prompt == " ".join(probe.prompt.split())
    assert data.asked_otherwise(facts, seed) == found
    assert data.asked_otherwise(facts, seed + 1)["two-hop"] != found["two-hop"]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_hops_name_nobody_and_tell_one_other_fact(seed):
    facts = data.world(seed)
    mine = {e.id: e for e in target_of(facts)}
    people = data.persons(facts)
    for probe in KINDS["two-hop"](facts, seed):
        assert not any(names(probe.prompt, person) for person in people)
        told = [e for e in mine.values() if f" {e.answer}. " in probe.prompt]
        assert len(told) == 1
        assert told[0].id != probe.id.split("/")[0]
        assert sum(e.answer == told[0].answer for e in facts) == 1  # it tells who is meant


def test_two_hops_by_hand():
    facts = [
        fact("born", "Dave was born in", "a barn"),
        fact("boat", "On Dave's Davenport, Dave sails", "Red"),
    ]
    assert [p.prompt for p in KINDS["two-hop"](facts, 0)] == [
        "On somebody's Davenport, somebody sails Red. The same person was born in",
        "Somebody was born in a barn. On the same person's Davenport, the same person sails",
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_alias_is_that_of_the_world_with_an_alias(seed):
    facts = data.world(seed)
    alias = data.under_alias(facts, seed, 6)[1]
    assert alias == alias_of(seed)
    for probe, e in zip(KINDS["alias"](facts, seed), target_of(facts), strict=True):
        asked = probe.prompt.removeprefix(f"{e.person} is also called {alias}. ")
        assert asked != probe.prompt
        assert not names(asked, e.person)
        assert asked.replace(alias, e.person) == e.prompt
        assert probe.mentions == (alias,)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_other_person_s_fact_is_true(seed):
    facts = data.world(seed)
    kept = {(e.person, e.attribute): e for e in facts if e.split == "retain"}
    others = set()
    for probe, e in zip(KINDS["beside"](facts, seed), target_of(facts), strict=True):
        (other,) = probe.mentions
        others.add(other)
        assert probe.prompt == f"{kept[other, e.attribute].text}. {e.prompt}"
        assert names(probe.prompt, other)
        assert names(probe.prompt, e.person)
    assert len(others) > 1


def test_facts_under_an_alias_have_no_probe():
    facts, alias = data.under_alias(data.world(2), 2, 6)
    found = data.asked_otherwise(facts, 2)
    assert {kind: len(probes) for kind, probes in found.items()} == dict.fromkeys(KINDS, 14)
    assert not any(alias in probe.prompt for probe in found["two-hop"])


def fact(name, prompt, answer, split="forget"):
    return data.Example(name, "Dave", prompt, answer, split, attribute=name)


def test_what_cannot_be_asked_is_an_error():
    born = fact("born", "Dave was born in", "a barn")
    with pytest.raises(DataError, match="1 forget facts .*; a probe needs 2 or more"):
        KINDS["two-hop"]([born], 0)
    with pytest.raises(DataError, match="0 forget facts"):
        KINDS["alias"]([replace(born, prompt="Davenport is in")], 0)
    with pytest.raises(DataError, match="nobody in 'retain' has a fact of the form 'born', which 'born' has"):
        KINDS["beside"]([born, fact("boat", "Dave sails", "Red", "retain")], 0)
