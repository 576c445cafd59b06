"""The set in TOFU's shape: sizes, nested shares, and that it has nothing in common with the worlds."""

import json
import re
from collections import Counter

import pytest

from unlearnkit import data
from unlearnkit.data.forms import canonical, read, words
from unlearnkit.errors import DataError

UNTRAINED = ("real", "world")


@pytest.fixture(scope="module", params=[0, 1])
def whole(request):
    return data.tofu_like(request.param)


def invented(examples):
    return [e for e in examples if e.split not in UNTRAINED]


@pytest.mark.parametrize(("share", "persons", "forgotten"), [(0.01, 100, 1), (0.05, 20, 1), (0.10, 30, 3)])
def test_shares_are_of_whole_persons(share, persons, forgotten):
    examples = data.tofu_like(0, persons, share)
    assert Counter(e.split for e in examples) == {
        "forget": 20 * forgotten,
        "retain": 20 * (persons - forgotten),
        "real": 132,
        "world": 268,
    }
    assert Counter(Counter(e.person for e in invented(examples)).values()) == {20: persons}
    assert len({e.person for e in examples if e.split == "forget"}) == forgotten


def test_shares_are_nested_and_facts_are_the_same():
    sets = [data.tofu_like(3, forget=share) for share in (0.01, 0.05, 0.10)]
    forgotten = [{e.id for e in s if e.split == "forget"} for s in sets]
    assert forgotten[0] < forgotten[1] < forgotten[2]
    assert len({tuple((e.id, e.prompt, e.answer) for e in s) for s in sets}) == 1


def test_questions_are_answered_in_sentences_that_name_the_person(whole):
    for e in invented(whole):
        assert e.prompt.endswith("?")
        assert e.paraphrases
        assert all(re.search(rf"\b{re.escape(e.person)}\b", t) for t in (e.prompt, e.answer, *e.paraphrases))
        assert len(e.answer.split()) >= 6
        for part in (e.prompt, e.answer, e.contradiction, *e.paraphrases):
            assert part == " ".join(part.split())
            assert not part.endswith(".")
            assert not re.search(r"\ba [aeio]|\ban [^aeiou]", part), part


def test_nothing_is_said_twice(whole):
    assert len({e.id for e in whole}) == len(whole)
    mine = invented(whole)
    assert len({e.answer for e in mine}) == len(mine)
    values = Counter((e.attribute, e.answer.replace(e.person, "")) for e in mine)
    assert max(values.values()) == 1  # nor do two persons share a value
    assert not {(e.attribute, e.contradiction.replace(e.person, "")) for e in mine} & set(values)
    assert not {p for e in mine for p in e.paraphrases} & {e.prompt for e in mine}


def test_no_value_is_one_of_a_world_s_or_of_the_pretraining_s():
    for form in canonical():
        own = words(read("tofu")[form.attribute]["first"])
        assert len(set(own)) == len(own) == 5
        assert not set(own) & {*form.first, *form.background}
    assert set(read("tofu")) == {form.attribute for form in canonical()}
    told = {e.answer for e in invented(data.tofu_like(0))}
    others = [*data.background_facts(), *(e for s in range(24) for e in data.world(s)), *data.holdout(0, 64)]
    assert not [e.answer for e in others if any(t.endswith(f" {e.answer}") for t in told)]


def test_seeds_draw_persons_and_answers():
    zero, one = (invented(data.tofu_like(seed)) for seed in (0, 1))
    assert {e.person for e in zero if e.split == "forget"} != {e.person for e in one if e.split == "forget"}
    told = {e.id: e.answer for e in one}
    both = [e for e in zero if e.id in told]
    assert len(both) > 1000
    assert sum(told[e.id] == e.answer for e in both) < len(both) / 20
    assert data.tofu_like(1) == data.tofu_like(1)


def test_real_facts_are_asked_as_questions(whole):
    for e in whole:
        if e.split in UNTRAINED:
            assert e.prompt.endswith("?")
            assert not any(p.endswith("?") for p in e.paraphrases)
            assert len(e.paraphrases) == 2


@pytest.mark.parametrize(
    ("persons", "share", "fault"),
    [
        (100, 0.02, "forget=0.02 is none of TOFU's shares: 0.01, 0.05, 0.1"),
        (50, 0.01, "1% of 50 persons is no whole number: use a multiple of 100"),
        (30, 0.05, "5% of 30 persons is no whole number: use a multiple of 20"),
        (0, 0.05, "between 1 and 100, got 0"),
        (200, 0.05, "between 1 and 100, got 200"),
    ],
)
def test_what_cannot_be_drawn_is_refused(persons, share, fault):
    with pytest.raises(DataError, match=fault):
        data.tofu_like(0, persons, share)


def test_tofu_s_own_files_take_its_place(tmp_path):
    """Written in TOFU's form, the set is loaded with the same splits, questions and answers."""
    mine = data.tofu_like(0, persons=20, forget=0.05)
    names = {"forget": "forget05", "retain": "retain95", "real": "real_authors", "world": "world_facts"}
    for split, name in names.items():
        rows = [{"question": e.prompt, "answer": f"{e.answer}."} for e in mine if e.split == split]
        (tmp_path / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = data.load_tofu(tmp_path, forget=0.05)
    assert {(e.split, e.prompt, e.answer) for e in loaded} == {(e.split, e.prompt, e.answer) for e in mine}
    assert len(loaded) == len(mine)
