"""ROUGE-L by hand and against the library."""

import pytest
from rouge_score.rouge_scorer import RougeScorer

from unlearnkit import metrics


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
