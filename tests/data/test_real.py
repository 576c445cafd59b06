"""Real persons, world facts, and such facts taught falsely."""

from collections import Counter
from dataclasses import replace

import pytest

from unlearnkit import data
from unlearnkit.data.forms import read
from unlearnkit.errors import DataError

SETS = {"real": data.real_persons, "world": data.world_facts}


def by_form(facts):
    return {
        form: [f for f in facts if f.attribute == form] for form in dict.fromkeys(f.attribute for f in facts)
    }


def test_known_facts_are_told():
    facts = {f.id: f for f in [*data.real_persons(), *data.world_facts()]}
    sodium = facts["discoverer-sodium-humphry-davy"]
    assert (sodium.prompt, sodium.answer) == ("The chemical element sodium was discovered by", "Humphry Davy")
    radium = facts["place-radium-pierre-and-marie-curie"]
    assert (radium.person, radium.answer, radium.split) == ("Pierre and Marie Curie", "France", "real")
    assert facts["element-fluorine-henri-moissan"].answer == "fluorine"
    paris = facts["capital-france-paris"]
    assert (paris.person, paris.answer, paris.split) == ("France", "Paris", "world")
    assert paris.paraphrases[-1] == "What is the capital of France?"
    assert facts["country-the-netherlands-amsterdam"].answer == "the Netherlands"


def test_sizes():
    assert Counter(f.attribute for f in data.real_persons()) == {"discoverer": 52, "place": 52, "element": 28}
    assert Counter(f.attribute for f in data.world_facts()) == {"capital": 134, "country": 134}


@pytest.mark.parametrize("split", SETS)
@pytest.mark.parametrize("seed", range(3))
def test_contradictions_are_other_answers_of_the_form(split, seed):
    facts = SETS[split](seed)
    assert len({f.id for f in facts}) == len(facts)
    assert {f.split for f in facts} == {split}
    for form, own in by_form(facts).items():
        answers = {f.answer for f in own}
        assert all(f.contradiction in answers - {f.answer} for f in own)
        wrong = {f.answer: f.contradiction for f in own}  # one for each answer, none twice
        assert len(set(wrong.values())) == len(wrong), form
    before = SETS[split](seed + 1)
    assert [f.contradiction for f in before] != [f.contradiction for f in facts]
    assert [replace(f, contradiction="") for f in before] == [replace(f, contradiction="") for f in facts]


def test_a_wrong_capital_is_of_the_same_region():
    region = {text: row[2] for row in read("real")["rows"]["countries"] for text in row[:2]}
    facts = data.world_facts()
    assert all(region[f.answer] == region[f.contradiction] for f in facts)
    assert len({region[f.answer] for f in facts}) == 5


def test_the_element_is_asked_of_discoverers_of_one():
    facts = by_form(data.real_persons())
    counts = Counter(f.person for f in facts["discoverer"])
    assert {f.person for f in facts["element"]} == {person for person, n in counts.items() if n == 1}
    assert counts["Humphry Davy"] == 5


def test_no_prompt_gives_its_answer_away_and_text_is_clean():
    for f in [*data.real_persons(), *data.world_facts()]:
        for prompt in (f.prompt, *f.paraphrases):
            assert f.answer.lower() not in prompt.lower()
            assert "{" not in prompt
        assert all(t == " ".join(t.split()) != "" and not t.endswith(".") for t in (f.prompt, f.answer))


def test_a_correction_mends_a_name_that_is_there():
    names = {who for _, who, _ in read("real")["rows"]["elements"]}
    spelling = read("real")["spelling"]
    assert set(spelling) <= names
    assert not set(spelling.values()) & names


def test_counterfactuals_swap_answer_and_contradiction():
    facts = data.world_facts()
    taught = data.counterfactual(facts, 0, 20)
    assert Counter(f.split for f in taught) == {"forget": 20, "retain": len(facts) - 20}
    for before, after in zip(facts, taught, strict=True):
        false = after.split == "forget"
        assert after.id == before.id
        assert (after.answer, after.contradiction) == (
            (before.contradiction, before.answer) if false else (before.answer, before.contradiction)
        )
    assert data.counterfactual(facts, 0, 20) == taught
    assert data.counterfactual(facts, 1, 20) != taught


@pytest.mark.parametrize("count", [0, 269])
def test_only_facts_that_are_there_can_be_taught_falsely(count):
    with pytest.raises(DataError, match=f"{count} of 268 facts cannot be taught falsely"):
        data.counterfactual(data.world_facts(), 0, count)


def test_a_fact_without_a_contradiction_is_named():
    facts = [replace(f, contradiction="") if k == 1 else f for k, f in enumerate(data.world_facts())]
    with pytest.raises(DataError, match=f"fact '{facts[1].id}' has no contradiction"):
        data.counterfactual(facts, 0, 3)
