"""Texts that are the same to people; right values are the Unicode standard's."""

from unlearnkit.data import folding


def test_copies_of_a_fact_fold_to_one_text():
    assert folding.folded(" ADA  keeps\tbees\n") == "ada keeps bees"
    assert folding.folded("Stra\u00dfe ZOE\u0308") == "strasse zo\u00eb"
    assert folding.folded("Ada") != folding.folded("Ida")
