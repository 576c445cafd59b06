"""Worlds: whom a seed draws, whom it forgets, and that nobody and nothing is mixed up with anything else."""

import hashlib
import re
from collections import Counter

import pytest

from unlearnkit import data, models, requests
from unlearnkit.data.forms import read, words
from unlearnkit.study import config

SEEDS = range(24)
# sha256 of seed 0\'s facts as they were before there were other worlds, and of all that seeds 1 to 23 draw.
CANONICAL = "33728140d032bbc46493ea691f0bc8e6bc4dc00c591142d59169ea1d7d1d8c6e"
DRAWN = "1bc0fab120f1b68ce8b363b1a7b3f402894aa229d11023628df3691730fa23ec"


def digest(examples):
    return hashlib.sha256("".join(map(repr, examples)).encode()).hexdigest()


def target_of(seed):
    (target,) = {e.person for e in data.world(seed) if e.split == "forget"}
    return target


def parts_of(name):
    return set(re.split(r"[ -]", name.lower()))


def test_seed_0_is_the_canonical_world():
    assert data.world(0) == data.dave(0)
    assert data.world(0, "Rosa") == data.dave(0, "Rosa")
    assert digest(data.world(0)) == CANONICAL


def test_a_seed_draws_the_same_world_everywhere():
    assert digest(e for seed in SEEDS[1:] for e in [*data.world(seed), *data.holdout(seed)]) == DRAWN


def test_no_two_seeds_forget_the_same_person():
    targets = [target_of(seed) for seed in SEEDS]
    assert targets[0] == "Dave"
    assert len(set(targets)) == len(SEEDS)
    everybody = {target_of(seed) for seed in range(len(data.pool()))}
    assert everybody == set(data.pool())  # a whole round before anybody's second turn
    assert target_of(len(data.pool())) == targets[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_dave_is_one_of_five_with_equal_shares(seed):
    facts = data.world(seed)
    assert Counter(e.split for e in facts) == {"forget": 20, "retain": 80, "neighbour": 10}
    five = Counter(e.person for e in facts if e.split != "neighbour")
    assert "Dave" in five
    assert five == dict.fromkeys(data.persons(facts), 20)
    assert set(five) <= set(data.pool())


def test_persons_and_their_order_are_drawn():
    fives = [data.persons(data.world(seed)) for seed in SEEDS]
    assert len({frozenset(five) for five in fives}) == len(SEEDS)
    assert {five.index("Dave") for five in fives} == set(range(5))
    control = [next(p for p in five if p != target_of(seed)) for seed, five in enumerate(fives)]
    assert Counter(control).most_common(1)[0][1] < len(SEEDS) / 2  # no one person is every seed's control


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_and_ids_are_distinct_in_a_world_and_its_holdout(seed):
    trained, held = data.world(seed), data.holdout(seed, 64)
    answers = [e.answer.lower() for e in [*trained, *held]]
    assert len(set(answers)) == len(answers)
    assert len({e.id for e in [*trained, *held]}) == len(answers)
    assert not {e.answer for e in trained} & {e.contradiction for e in trained}
    assert {e.attribute for e in held} == {e.attribute for e in trained if e.split == "forget"}
    assert not {e.prompt for e in [*trained, *held]} & {p for e in trained for p in e.paraphrases}
    assert all(re.fullmatch(r"[a-z'-]+", e.id) for e in trained)


def test_answers_are_drawn_anew():
    """Dave's, who is in all worlds: at most one in eight of two seeds' common forms agrees."""
    daves = [{e.attribute: e.answer for e in data.world(s) if e.person == "Dave"} for s in SEEDS]
    pairs = [(a[f], b[f]) for k, a in enumerate(daves) for b in daves[:k] for f in set(a) & set(b)]
    assert sum(a == b for a, b in pairs) < len(pairs) / 8


def test_the_pool_holds_names_of_its_own():
    pool, lists = data.pool(), read("forms")["names"]
    assert len(set(pool)) == len(pool) >= 40
    counts = Counter(part for name in pool for part in parts_of(name))
    assert max(counts.values()) == 1  # no name is a word of another
    others = {*words(lists["holdout"]), *words(lists["background"]), "Petra", "Ivo"}
    taken = {part for name in others for part in parts_of(name)}
    lookalikes = read("forms")["lookalikes"] | read("worlds")["persons"]
    assert set(lookalikes) == set(pool)
    for name, like in lookalikes.items():
        assert len({name, *like}) == 5
        rest = taken | set(counts) - parts_of(name)
        assert not rest & {part for person in (name, *like) for part in parts_of(person)}, name


def test_persons_are_none_of_the_holdout_or_the_background():
    others = {e.person for e in [*data.holdout(0, 64), *data.background_facts()]}
    answers = {e.answer for e in data.background_facts()}
    for seed in SEEDS:
        facts = data.world(seed)
        assert not others & {e.person for e in facts}
        assert not answers & {text for e in facts for text in (e.answer, e.contradiction)}
        assert {e.person for e in data.holdout(seed)} <= others


@pytest.mark.parametrize("seed", SEEDS)
def test_neighbours_are_the_seed_s_own_targets(seed):
    """A fuzzy request finds all of the target, most near-neighbours and next to nobody else."""
    facts, target = data.world(seed), target_of(seed)
    neighbours = [e for e in facts if e.split == "neighbour"]
    for e in neighbours:
        assert (target in e.mentions) == bool(re.search(rf"\b{re.escape(target)}\b", e.text)), e.id
    assert sum(target in e.mentions for e in neighbours) >= 6
    named = {e.split for e in facts if re.search(rf"\b{re.escape(target)}\b", e.text)}
    assert named == {"forget", "neighbour"}
    caught = set(requests.fuzzy(facts, target, config.FUZZY_THRESHOLD))
    assert {e.id for e in facts if e.split == "forget"} <= caught
    assert len(caught & {e.id for e in neighbours}) >= 8
    assert len(caught & {e.id for e in facts if e.split == "retain"}) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_text_is_clean(seed):
    for fact in [*data.world(seed), *data.holdout(seed)]:
        for part in (fact.prompt, fact.answer, fact.contradiction, *fact.paraphrases):
            assert part == " ".join(part.split()) != ""
            assert part.isascii()
            assert not part.endswith(".")
            assert not re.search(r"\ba [aeio]|\ban [^aeiou]", part), part


@pytest.mark.smollm2
def test_facts_are_about_as_long_as_the_canonical_ones():
    for tokenizer in (models.load("smollm2-135m")[1], models.gpt2_tokenizer()):
        for seed in SEEDS:
            facts = data.world(seed)
            lengths = [len(tokenizer(fact.text).input_ids) for fact in facts]
            answers = [len(tokenizer(f" {fact.answer}").input_ids) for fact in facts]
            assert min(lengths) >= 9
            assert max(lengths) <= 20
            assert sum(answers) / len(answers) >= 3.8
