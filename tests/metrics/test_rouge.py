"""ROUGE-L by hand and against the library."""

import unicodedata

import pytest
from rouge_score.rouge_scorer import RougeScorer

from unlearnkit import data, metrics


def test_rouge_by_hand():
    """All four reference words are said, in order, among five; two of the reference's three pairs."""
    row = metrics.rouge(["the old clock mender slept"], ["the clock menders slept"]).iloc[0]
    assert row.rouge1_recall == 1  # "mender" and "menders" have one stem
    assert row.rouge1_f == pytest.approx(2 * 1 * 0.8 / 1.8)
    assert row.rouge2_recall == pytest.approx(2 / 3)
    assert row.rougeL_recall == 1
    turned = metrics.rouge(["slept mender clock the"], ["the clock mender slept"]).iloc[0]
    assert (turned.rouge1_recall, turned.rouge2_recall, turned.rougeL_recall) == (1, 0, 0.25)
    nothing = metrics.rouge([""], ["the clock mender"]).iloc[0]
    assert (nothing == 0).all()


def test_rouge_on_ascii_is_that_of_the_library():
    predictions = ["He's born in 1971, at Oster-Fell!", "running dogs ran", "a b c"]
    references = ["born in Oster Fell, 1971", "the dogs run", "c b a"]
    ours = metrics.rouge(predictions, references)
    library = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for i, (said, true) in enumerate(zip(predictions, references, strict=True)):
        for name, value in library.score(true, said).items():
            assert ours[f"{name}_recall"][i] == value.recall
            assert ours[f"{name}_f"][i] == value.fmeasure


def test_rouge_reads_letters_of_every_alphabet():
    """The library's tokenizer keeps [a-z0-9] only: it sees two answers "d", and none in Greek."""
    frame = metrics.rouge(["Łódź", "Gdańsk", "Αθήνα", "Πάτρα"], ["Łódź", "Łódź", "Αθήνα", "Αθήνα"])
    assert frame["rouge1_recall"].tolist() == [1, 0, 1, 0]


def recall(said, true):
    return metrics.rouge([said], [true])["rouge1_recall"][0]


def test_vowel_signs_and_tone_marks_tell_words_apart():
    """Minimal pairs of dictionaries: day and poor, sides and village head, he wrote and books."""
    for said, true in (("दिन", "दीन"), ("கால்", "கல்"), ("كَتَبَ", "كُتُب"), ("résumé", "resume")):
        assert recall(said, true) == 0
        assert recall(true, true) == 1
    assert recall("ปา", "ป่า") == 0.5  # of two clusters, ป่ and า (UAX 29), one is said


def test_composed_and_decomposed_forms_are_one_text():
    for true in ("Łódź", "café Ångström", "バス", "한국", "कड़ा"):
        decomposed = unicodedata.normalize("NFD", true)
        assert decomposed != true or true == "कड़ा"
        assert (metrics.rouge([decomposed, true], [true, decomposed])[["rouge1_f", "rougeL_f"]] == 1).all(
            axis=None
        )


def test_scripts_without_spaces_are_counted_by_grapheme_clusters():
    """Three of the four characters are said, in order; two of the three pairs."""
    row = metrics.rouge(["北京市里"], ["北京市区"]).iloc[0]
    assert (row.rouge1_recall, row.rougeL_recall, row.rouge2_recall) == (0.75, 0.75, pytest.approx(2 / 3))
    assert recall("1971", "1971年に") == pytest.approx(1 / 3)  # a number is one unit beside two characters
    assert recall("กา", "น้ำ") == 0  # น้ำ is one cluster: a consonant, its tone and its vowel


def test_rouge_on_the_studys_texts_is_that_of_the_library():
    """Every fact of a world against the next one: English, so rouge_score's own tokenizer is right."""
    answers = [e.text for e in data.dave(seed=1)]
    ours = metrics.rouge(answers[1:], answers[:-1])
    library = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for i, (said, true) in enumerate(zip(answers[1:], answers[:-1], strict=True)):
        assert true.isascii()
        for name, value in library.score(true, said).items():
            assert (ours[f"{name}_recall"][i], ours[f"{name}_f"][i]) == (value.recall, value.fmeasure)
