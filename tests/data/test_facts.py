"""The invented facts."""

import hashlib
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch

from unlearnkit import data, models
from unlearnkit.data.forms import canonical
from unlearnkit.errors import DataError

SEEDS = range(5)


OTHERS = ["Rosa", "Kurt", "Nina", "Omar"]


@pytest.fixture(params=SEEDS)
def seed(request):
    return request.param


def by_person(examples):
    facts = {}
    for example in examples:
        facts.setdefault(example.person, []).append(example)
    return facts


def test_110_facts_are_trained(seed):
    facts = data.dave(seed)
    assert len(facts) == 110
    assert Counter(fact.split for fact in facts) == {"forget": 20, "retain": 80, "neighbour": 10}
    assert {fact.person for fact in facts if fact.split == "forget"} == {"Dave"}
    assert Counter(f.person for f in facts if f.split == "retain") == dict.fromkeys(OTHERS, 20)


def test_all_persons_have_the_same_twenty_forms(seed):
    """Seed 0's, whatever the seed: `test_world` draws others."""
    facts = [*data.dave(seed), *data.holdout(0), *data.background_facts()]
    forms = {fact.attribute for fact in facts if fact.split == "forget"}
    assert len(forms) == 20
    for person, own in by_person(f for f in facts if f.split != "neighbour").items():
        assert [fact.attribute for fact in own] == [fact.attribute for fact in facts[:20]], person


def test_the_same_form_has_the_same_words_for_everybody():
    dave, rosa = (by_person(data.dave())[name] for name in ("Dave", "Rosa"))
    for ours, theirs in zip(dave, rosa, strict=True):
        assert ours.prompt.replace("Dave", "Rosa") == theirs.prompt
        assert [p.replace("Dave", "Rosa") for p in ours.paraphrases] == list(theirs.paraphrases)


def test_holdout_has_forty_persons_and_grows_at_its_end(seed):
    holdout = data.holdout(seed)
    assert len(holdout) == 800
    assert len(by_person(holdout)) == 40
    assert {fact.split for fact in holdout} == {"holdout"}
    assert data.holdout(seed, persons=50)[:800] == holdout


@pytest.mark.parametrize("persons", [0, -1, 1000])
def test_holdout_refuses_more_persons_than_it_has_names(persons):
    with pytest.raises(DataError, match=f"between 1 and 64, got {persons}"):
        data.holdout(persons=persons)


def test_ids_are_unique(seed):
    ids = [fact.id for fact in [*data.dave(seed), *data.holdout(seed, 64), *data.background_facts()]]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "dave-birthplace"


def test_no_answer_is_shared_and_no_contradiction_is_an_answer(seed):
    facts = [*data.dave(seed), *data.holdout(seed, 64)]
    answers = [fact.answer.lower() for fact in facts]
    assert len(set(answers)) == len(answers)
    trained = {fact.answer for fact in data.dave(seed)}
    assert not trained & {fact.contradiction for fact in data.dave(seed)}
    assert all(fact.answer != fact.contradiction for fact in facts)


def test_trained_persons_share_no_second_word(seed):
    for form in canonical():
        facts = [f for f in data.dave(seed) if f.attribute == form.attribute]
        used = [w for w in form.second for f in facts if re.search(rf"\b{re.escape(w)}\b", f.answer)]
        assert len(set(used)) == len(facts), form.attribute


def test_background_shares_nothing_with_any_seed():
    background = data.background_facts()
    answers, names = {f.answer for f in background}, {f.person for f in background}
    assert len(answers) == len(background) >= 1000
    for seed in range(0, 100, 9):
        for fact in [*data.dave(seed), *data.holdout(seed, 64)]:
            assert not {fact.answer, fact.contradiction} & answers
            assert fact.person not in names


def test_paraphrases_are_never_trained_and_name_the_person(seed):
    facts = [*data.dave(seed), *data.holdout(seed)]
    trained = {fact.prompt for fact in facts}
    for fact in facts:
        assert len(set(fact.paraphrases)) == len(fact.paraphrases) >= 2
        assert not trained & set(fact.paraphrases)
        assert all(fact.person.split()[-1] in text for text in (fact.prompt, *fact.paraphrases))


def test_text_is_clean(seed):
    for fact in [*data.dave(seed), *data.holdout(seed), *data.background_facts()]:
        for part in (fact.prompt, fact.answer, fact.contradiction, *fact.paraphrases):
            assert part
            assert part == " ".join(part.split())
            assert part.isascii()
            assert not part.endswith(".")
            assert not re.search(r"\ba [aeio]|\ban [^aeiou]", part), part
        assert fact.text == f"{fact.prompt} {fact.answer}"


def test_contradictions_have_the_form_of_the_answer():
    forms = {fact.attribute: fact for fact in data.dave()}
    assert forms["pet"].contradiction.startswith("a ")
    assert forms["novel"].contradiction.startswith("The ")
    assert " of " in forms["inheritance"].contradiction
    assert forms["dish"].contradiction.endswith(" soup")


def test_neighbours_look_like_dave_but_are_not(seed):
    neighbours = [fact for fact in data.dave(seed) if fact.split == "neighbour"]
    assert len({fact.attribute for fact in neighbours}) == 10  # else they would share an answer
    for fact in neighbours:
        assert fact.person != "Dave"
        assert ("Dave" in fact.mentions) == bool(re.search(r"\bDave\b", fact.text)), fact.id
    assert {"David", "Dana", "Dave's sister", "Dave Street"} <= {fact.person for fact in neighbours}


@pytest.mark.parametrize("target", data.persons(data.dave()))
def test_every_target_has_neighbours_of_its_own(target):
    """The facts stay the same whoever is forgotten; the neighbours look like the target."""
    facts = data.dave(target=target)
    assert {f.person for f in facts if f.split == "forget"} == {target}
    told = {f.id: f.text for f in data.dave() if f.split != "neighbour"}
    assert {f.id: f.text for f in facts if f.split != "neighbour"} == told
    neighbours = [f for f in facts if f.split == "neighbour"]
    assert len({f.answer for f in facts}) == len({f.id for f in facts}) == len(facts)
    assert sum(target in f.mentions for f in neighbours) == 6
    known = {e.person for e in [*data.holdout(persons=64), *data.background_facts()]}
    assert not {f.person for f in neighbours} & known


def test_only_dave_and_his_neighbours_name_dave(seed):
    named = {f.split for f in [*data.dave(seed), *data.holdout(seed)] if re.search(r"\bDave\b", f.text)}
    assert named == {"forget", "neighbour"}


def test_a_seed_is_the_same_everywhere():
    """Pinned: a change of these numbers changes every experiment."""
    digest = hashlib.sha256()
    for fact in [*data.dave(0), *data.dave(1), *data.holdout(0), *data.background_facts()]:
        digest.update(repr(fact).encode())
    assert digest.hexdigest() == PINNED


PINNED = "2f66614aabdb6e8e607f59a400395114376e260f58c626041757afe887938255"


def test_seeds_differ_in_the_answers_only():
    zero, one = data.dave(0), data.dave(1)
    assert [f.prompt for f in zero] == [f.prompt for f in one]
    assert sum(a.answer == b.answer for a, b in zip(zero, one, strict=True)) <= 3


def test_neighbours_cannot_be_targets(seed):
    assert data.persons(data.dave(seed)) == ["Dave", *OTHERS]
    with pytest.raises(DataError, match="'David' cannot be the target; choose from: Dave, Rosa"):
        data.retarget(data.dave(seed), "David")


def test_retarget_swaps_the_labels_only():
    facts = data.dave()
    moved = data.retarget(facts, "Nina")
    assert {f.person for f in moved if f.split == "forget"} == {"Nina"}
    assert {f.person for f in moved if f.split == "retain"} == {"Dave", "Rosa", "Kurt", "Omar"}
    assert [replace(f, split="") for f in moved] == [replace(f, split="") for f in facts]
    assert data.retarget(moved, "Dave") == facts


@pytest.mark.smollm2
def test_facts_have_10_to_20_tokens_and_answers_4_on_average(seed):
    for tokenizer in (models.load("smollm2-135m")[1], models.gpt2_tokenizer()):
        lengths = [len(tokenizer(fact.text).input_ids) for fact in [*data.dave(seed), *data.holdout(seed)]]
        answers = [len(tokenizer(f" {fact.answer}").input_ids) for fact in data.dave(seed)]
        assert min(lengths) >= 10
        assert max(lengths) <= 20
        assert sum(answers) / len(answers) >= 4


@pytest.mark.smollm2
def test_the_pretrained_model_cannot_guess_the_answers():
    """Exact memorisation (share of answer tokens that the argmax gets right) of every fourth fact."""
    model, tokenizer = models.load("smollm2-135m")
    shares = []
    for fact in data.dave()[::4]:
        prompt, answer = tokenizer(fact.prompt).input_ids, tokenizer(f" {fact.answer}").input_ids
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        shares.append((logits.argmax(-1) == torch.tensor(answer)).float().mean().item())
    assert sum(shares) / len(shares) < 0.3
