"""From a request to example ids."""

import pytest

from unlearnkit import data, requests
from unlearnkit.errors import RequestError

FACTS = data.dave()
DAVE = [fact.id for fact in FACTS if fact.person == "Dave"]


def test_exact_keeps_the_order_of_the_examples_and_drops_repeats():
    assert requests.exact(FACTS, [DAVE[3], DAVE[1], DAVE[3]]) == [DAVE[1], DAVE[3]]
    assert requests.exact(FACTS, DAVE[1]) == [DAVE[1]]


@pytest.mark.parametrize("ids", [[], (), set()])
def test_exact_empty(ids):
    with pytest.raises(RequestError, match="request is empty"):
        requests.exact(FACTS, ids)


def test_exact_unknown_names_the_nearest():
    with pytest.raises(RequestError, match=r"unknown id 'dave-birthplaces' \(nearest: dave-birthplace, "):
        requests.exact(FACTS, [DAVE[0], "dave-birthplaces"])
    with pytest.raises(RequestError, match="and 2 more"):
        requests.exact(FACTS, ["v", "w", "x", "y", "z"])
    with pytest.raises(RequestError, match="there are none to choose from"):
        requests.exact([], ["x"])


def test_by_person_goes_by_ground_truth():
    assert requests.by_person(FACTS, "Dave") == DAVE
    assert requests.by_person(FACTS, "David") == ["david-birthplace"]


@pytest.mark.parametrize("person", ["Dav", "dave", "DAVE"])
def test_by_person_unknown(person):
    with pytest.raises(RequestError, match=f"no fact is about '{person}' \\(nearest: .*Dave"):
        requests.by_person(FACTS, person)


def test_by_person_empty():
    with pytest.raises(RequestError, match="request is empty"):
        requests.by_person(FACTS, " ")


@pytest.mark.parametrize("seed", range(5))
def test_fuzzy_finds_all_of_dave_and_some_neighbours(seed):
    """The neighbours make the request hard: recall is full, precision is not, the other persons stay out."""
    facts = data.dave(seed)
    ids = requests.fuzzy(facts, "Dave", threshold=80)
    truth = requests.by_person(facts, "Dave")
    precision, recall = requests.precision_recall(ids, truth)
    assert recall == 1
    assert 0.6 < precision < 0.8
    assert {f.split for f in facts if f.id in ids} == {"forget", "neighbour"}
    assert ids == [f.id for f in facts if f.id in ids]


def test_fuzzy_scorers_differ():
    partial = requests.fuzzy(FACTS, "Dave", 90, "partial_ratio")
    tokens = requests.fuzzy(FACTS, "Dave", 90, "token_set_ratio")
    assert "davenport-dish" in partial
    assert "davenport-dish" not in tokens
    assert "petra-fear" in tokens


def test_fuzzy_ignores_case():
    assert requests.fuzzy(FACTS, "DAVE") == requests.fuzzy(FACTS, "dave")


def test_fuzzy_threshold_is_inclusive_and_narrows():
    scores = requests.similarities(FACTS, "Dave")
    at = sorted(set(scores.values()))[-2]
    assert set(requests.fuzzy(FACTS, "Dave", at)) == {id for id, score in scores.items() if score >= at}
    assert set(requests.fuzzy(FACTS, "Dave", 100)) < set(requests.fuzzy(FACTS, "Dave", at))
    assert len(requests.fuzzy(FACTS, "Dave", 0)) == len(FACTS)


def test_fuzzy_without_a_match_tells_the_best_score():
    best = max(requests.similarities(FACTS, "Xerxes").values())
    with pytest.raises(
        RequestError, match=f"nothing matches 'Xerxes' at threshold 99: the best score is {best:.1f}"
    ):
        requests.fuzzy(FACTS, "Xerxes", 99)


@pytest.mark.parametrize("threshold", [-1, 100.5, float("nan")])
def test_fuzzy_threshold_out_of_range(threshold):
    with pytest.raises(RequestError, match=f"threshold must lie between 0 and 100, got {threshold}"):
        requests.fuzzy(FACTS, "Dave", threshold)


def test_fuzzy_unknown_scorer():
    with pytest.raises(
        RequestError, match="unknown scorer 'cosine'; choose one of partial_ratio, token_set_ratio"
    ):
        requests.fuzzy(FACTS, "Dave", scorer="cosine")


@pytest.mark.parametrize("query", ["", "  ", "?!"])
def test_fuzzy_empty_query(query):
    with pytest.raises(RequestError, match="request is empty"):
        requests.fuzzy(FACTS, query)


def test_fuzzy_without_examples():
    with pytest.raises(RequestError, match="no examples"):
        requests.fuzzy([], "Dave")


def test_parse_takes_a_person_or_ids():
    assert requests.parse(FACTS, "Dave") == DAVE
    assert requests.parse(FACTS, " Dave's sister ") == ["daves-sister-allergy"]
    assert requests.parse(FACTS, f"{DAVE[2]}, {DAVE[0]},") == [DAVE[0], DAVE[2]]
    assert requests.parse(FACTS, DAVE[5]) == [DAVE[5]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Dav", r"'Dav' is neither a person nor an id \(nearest: Dave"),
        ("", "request is empty"),
        (" , ", "request is empty"),
        ("dave-pet,dave-pat", r"'dave-pat' is neither a person nor an id \(nearest: .*dave-pet"),
    ],
)
def test_parse_bad_queries(query, message):
    with pytest.raises(RequestError, match=message):
        requests.parse(FACTS, query)


def fact(id, person=""):
    return data.Example(id, person, "Somebody likes", "plums", "retain")


NAMED = [
    fact("a", "Ada Example"),
    fact("b", "Bo Sample"),
    fact("c", "Bo Sample"),
    fact("d", "Smith, Jo"),
    fact("x, y"),
]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("Ada Example,Bo Sample", ["a", "b", "c"]),
        ("Bo Sample , a", ["a", "b", "c"]),
        ("Smith, Jo", ["d"]),  # a person, and an id, with a comma
        ("c,x, y,Smith, Jo,", ["c", "d", "x, y"]),
    ],
)
def test_parse_takes_several_persons_and_names_with_commas(query, ids):
    assert requests.parse(NAMED, query) == ids


def test_parse_names_what_it_does_not_know_among_what_it_knows():
    with pytest.raises(RequestError, match=r"^'Bob' is neither a person nor an id \(nearest: .*\)$"):
        requests.parse(NAMED, "Ada Example,Bob")
    with pytest.raises(RequestError, match="; and 2 more$"):
        requests.parse(NAMED, "q1,q2,q3,q4,q5")


def test_parse_refuses_two_readings():
    both = [fact("a"), fact("b"), fact("a,b")]
    with pytest.raises(RequestError, match="can be read as 'a' and 'b' or as 'a,b'"):
        requests.parse(both, "a,b")
    assert requests.parse(both, "b,a") == ["a", "b"]
    with pytest.raises(RequestError, match="'Ada' is a person, with 2 facts, and an id"):
        requests.parse([fact("Ada"), fact("p", "Ada"), fact("q", "Ada")], "Ada")
    assert requests.parse([fact("Ada", "Ada"), fact("q")], "Ada") == ["Ada"]  # both readings are one


def test_a_name_is_found_in_either_unicode_form():
    """U+00EB and e with U+0308 are canonically equivalent (Unicode standard, D70)."""
    for stored, asked in (("Zo\u00eb", "Zoe\u0308"), ("Zoe\u0308", "Zo\u00eb")):
        facts = [fact(f"{stored}-1", stored), fact("other", "Ben")]
        assert requests.parse(facts, asked) == [f"{stored}-1"]
        assert requests.parse(facts, f"other,{asked}") == [f"{stored}-1", "other"]
        assert requests.by_person(facts, asked) == [f"{stored}-1"]
        assert requests.exact(facts, [f"{asked}-1"]) == [f"{stored}-1"]
        told = [data.Example("z", "", f"{stored} likes", "plums", "retain")]
        assert requests.similarities(told, asked) == {"z": 100}


def test_a_long_request_is_read_quickly():
    many = [fact(f"id {k}") for k in range(2000)]
    assert len(requests.parse(many, ",".join(e.id for e in many))) == 2000


def test_precision_recall():
    assert requests.precision_recall(["a", "b", "c", "d"], ["a", "e"]) == (0.25, 0.5)
    with pytest.raises(RequestError, match="non-empty"):
        requests.precision_recall([], ["a"])


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (
            lambda: requests.fuzzy(FACTS, "Ben", threshold="80"),
            "threshold must lie between 0 and 100, got '80'",
        ),
        (lambda: requests.fuzzy(FACTS, None), "query must be a text, got None"),
        (lambda: requests.similarities(FACTS, 5), "query must be a text, got 5"),
        (lambda: requests.parse(FACTS, None), "query must be a text, got None"),
        (lambda: requests.exact(FACTS, [1]), "an id must be a text, got 1"),
        (lambda: requests.exact(FACTS, None), "ids must be texts, got None"),
        (lambda: requests.by_person(FACTS, None), "person must be a text, got None"),
    ],
)
def test_what_is_no_text_or_number_is_named(ask, match):
    with pytest.raises(RequestError, match=match):
        ask()
