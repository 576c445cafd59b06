"""Passages to learn by heart."""

from collections import Counter

import pytest

from unlearnkit import data, models
from unlearnkit.batching import encode
from unlearnkit.data import text
from unlearnkit.errors import DataError


@pytest.fixture
def biographies(monkeypatch):
    """Seven persons: six with nine long paragraphs and a short one, and one with two."""

    def article(name, count):
        lines = [" ".join(f"{name}{k}w{j}" for j in range(100 + k)) + "." for k in range(count)]
        return "\n".join([*lines, "Too short a paragraph."])

    articles = {f"Person {c}": article(c, 9) for c in "ABCDEF"} | {"Person G": article("G", 2)}
    monkeypatch.setattr("unlearnkit.data.verbatim.biographies", lambda: articles)
    return articles


@pytest.mark.parametrize("seed", range(4))
def test_prompt_and_answer_are_the_paragraph_s_beginning_verbatim(biographies, seed):
    found = data.passages(seed)
    for e in found:
        assert any(line.startswith(f"{e.text} ") for line in biographies[e.person].split("\n"))
        assert (len(e.prompt.split()), len(e.answer.split())) == (24, 60)
        assert (e.paraphrases, e.contradiction) == ((), "")
    assert len({e.id for e in found}) == len({e.prompt for e in found}) == len(found)


@pytest.mark.parametrize("seed", range(4))
def test_one_person_is_forgotten(biographies, seed):
    trained = data.passages(seed, persons=4, each=5)
    assert Counter(e.split for e in trained) == {"forget": 5, "retain": 15}
    assert Counter(Counter(e.person for e in trained).values()) == {5: 4}
    assert len({e.person for e in trained if e.split == "forget"}) == 1
    assert data.passages(seed, persons=4, each=5) == trained


def test_seeds_draw_persons_and_passages(biographies):
    assert len({e.person for s in range(12) for e in data.passages(s) if e.split == "forget"}) > 2
    assert len({str(data.passages(s)) for s in range(6)}) == 6


def test_a_full_stop_at_the_end_is_not_part_of_an_answer(monkeypatch):
    words = [f"w{k}" for k in range(83)]
    monkeypatch.setattr("unlearnkit.data.verbatim.biographies", lambda: {"A": " ".join([*words, "end."])})
    (example,) = data.passages(0, persons=1, each=1)
    assert example.answer.endswith(" end")


@pytest.mark.parametrize(
    ("persons", "each", "enough"), [(7, 8, 6), (1, 10, 0), (0, 8, 6), (8, 2, 7), (1, 0, 7)]
)
def test_no_more_persons_or_passages_than_there_are(biographies, persons, each, enough):
    fault = f"{persons} persons with {each} passages each cannot be drawn: {enough} persons"
    with pytest.raises(DataError, match=fault):
        data.passages(0, persons, each)


@pytest.mark.smollm2
@pytest.mark.parametrize("name", ["smollm2-135m", "gpt2-tiny", "neox-tiny"])
def test_real_answers_have_60_to_150_tokens_and_fit_the_models(name):
    _, tokenizer = models.load(name)
    found = [e for seed in range(4) for e in data.passages(seed)]
    counts = [encode(tokenizer, e.prompt, e.answer, "answer")[1] for e in found]
    assert min(map(sum, counts)) >= 60
    assert max(map(sum, counts)) <= 150
    assert max(map(len, counts)) < 256


@pytest.mark.smollm2
def test_real_passages_are_in_no_utility_text():
    utility = " ".join(" ".join([*data.utility_text("train"), *data.utility_text("eval")]).split())
    assert not [e.id for e in data.passages(0) if e.answer in utility]
    assert len(text.biographies()) == 11
