"""One fact under two ids, on both sides of a request."""

import pytest

from unlearnkit.data import Example
from unlearnkit.errors import RequestError
from unlearnkit.study import twins


def fact(id, prompt, answer, **more):
    return Example(id, "", prompt, answer, "retain", **more)


BEES = fact("bees", "Zoë keeps her bees on", "the roof of the old granary")
OTHER = fact("boat", "Ben calls his boat", "the Patient Otter")


@pytest.mark.parametrize(
    "twin",
    [
        ("Zoë keeps her bees on", "the roof of the old granary"),
        ("ZOË  keeps her bees on", "The roof of the old\tgranary"),
        ("Zoe\u0308 keeps her bees on", "the roof of the old granary"),
        ("Zoë keeps her bees", "on the roof of the old granary"),  # cut elsewhere, one text
    ],
)
def test_a_fact_on_both_sides_is_refused_with_both_ids(twin):
    facts = [OTHER, fact("twin", *twin), BEES]
    with pytest.raises(RequestError, match="first to be forgotten.*: 'bees' and 'twin'. The oracle"):
        twins.refuse(facts, ["bees"])
    with pytest.raises(RequestError, match=": 'twin' and 'bees'"):
        twins.refuse(facts, ["twin"])
    twins.refuse(facts, ["bees", "twin"])  # on one side
    twins.refuse(facts, ["boat"])


def test_only_some_pairs_are_named():
    copies = [fact(f"{side}{k}", f"Number {k} is", "odd") for side in "ab" for k in range(7)]
    with pytest.raises(RequestError, match="'a4' and 'b4' and 2 more"):
        twins.refuse(copies, [f"a{k}" for k in range(7)])


def test_near_twins_are_told_by_the_share_of_characters():
    """Indel similarity: 2 * 10 common characters of 21, or 1 - 1/21."""
    one, two = fact("one", "abcd", "efghi"), fact("two", "abcd", "efghij")
    assert twins.near([one, two, OTHER], ["one"]) == [("one", "two", pytest.approx(100 * 20 / 21))]
    assert twins.near([one, two, OTHER], ["boat"]) == []
    assert twins.warning([one, two, OTHER], ["boat"]) == ""
    assert "'one' and 'two' (95 %)" in twins.warning([one, two], ["one"])


def test_a_taught_fact_is_no_hold_out():
    held = fact("held", "ZOË keeps her bees on", "the roof  of the old granary")
    with pytest.raises(RequestError, match="split holdout and the second taught: 'held' and 'bees'"):
        twins.refuse_taught([OTHER, BEES], [held])
    twins.refuse_taught([OTHER], [held])


def test_facts_that_stay_and_name_the_forgotten_are_told():
    """By text, mention or an owner who differs in case; a name within a word is none."""
    asked = Example("bees", "Zoë", "Zoë keeps", "bees", "retain")
    others = [
        Example("text", "Ben", "Ben is married to ZOË", "since May", "retain"),
        Example("mention", "Ben", "Ben met her", "in May", "retain", mentions=("Zoe\u0308",)),
        Example("case", "zoë", "She paints", "bridges", "retain"),
        Example("within", "Ben", "Ben reads the Zoëtic", "papers", "retain"),
    ]
    told = twins.naming([asked, *others], ["bees"])
    assert "3 facts that are to be retained name" in told
    assert "'text'; 'mention'; 'case'. The oracle" in told
    assert twins.naming([asked, others[-1]], ["bees"]) == ""
    assert twins.naming([BEES, OTHER], ["bees"]) == ""  # about nobody


def test_a_paraphrase_that_is_retained_is_a_near_twin():
    asked = fact("bees", BEES.prompt, BEES.answer, paraphrases=("The place of the hives of Zoë is",))
    told = fact("told", "The place of the hives of Zoë is", BEES.answer)
    assert twins.near([asked, told], ["bees"]) == [("bees", "told", 100)]
