"""From a forget request to the ids of the examples to forget.

An exact request names ids or a person of the ground truth; a fuzzy one compares a query with the text of
every example, as one would without labels, and is judged by its precision and recall.
"""

from collections.abc import Callable, Collection, Iterable

from rapidfuzz import fuzz, process, utils

from unlearnkit.data import Example
from unlearnkit.errors import RequestError

# Character similarity in 0..100. partial_ratio takes the best window of the text: the plain ratio of a name
# to a whole sentence is low even when the name is in it.
SCORERS: dict[str, Callable[..., float]] = {
    "partial_ratio": fuzz.partial_ratio,
    "token_set_ratio": fuzz.token_set_ratio,
}
SUGGESTIONS = 3


def exact(examples: list[Example], ids: Iterable[str]) -> list[str]:
    """The requested ids, each once, in the examples' order; RequestError names unknown ones."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    known = [example.id for example in examples]
    if not wanted:
        raise RequestError("the forget request is empty: name at least one id or a person")
    if unknown := sorted(wanted - set(known)):
        hints = "; ".join(f"{name!r} ({_nearest(name, known)})" for name in unknown[:SUGGESTIONS])
        more = f" and {len(unknown) - SUGGESTIONS} more" if len(unknown) > SUGGESTIONS else ""
        raise RequestError(f"unknown id {hints}{more}")
    return [id for id in known if id in wanted]


def by_person(examples: list[Example], person: str) -> list[str]:
    """The ids of every fact about ``person`` (ground truth, letter for letter)."""
    people = sorted({example.person for example in examples if example.person})
    if not person.strip():
        raise RequestError("the forget request is empty: name a person")
    if person not in people:
        raise RequestError(f"no fact is about {person!r} ({_nearest(person, people)})")
    return [example.id for example in examples if example.person == person]


def fuzzy(
    examples: list[Example], query: str, threshold: float = 80, scorer: str = "partial_ratio"
) -> list[str]:
    """The ids of examples whose text resembles ``query`` by at least ``threshold`` (0..100).

    Case and punctuation do not count. RequestError for an empty query, an unknown scorer, a threshold out of
    range, or when nothing matches (with the best score reached).
    """
    if not 0 <= threshold <= 100:
        raise RequestError(f"threshold must lie between 0 and 100, got {threshold}")
    scores = similarities(examples, query, scorer)
    matched = [id for id, score in scores.items() if score >= threshold]
    if not matched:
        best = max(scores, key=scores.get)
        raise RequestError(
            f"nothing matches {query!r} at threshold {threshold:g}: the best score is {scores[best]:.1f}, "
            f"of {best!r}. Lower the threshold or change the query"
        )
    return matched


def similarities(examples: list[Example], query: str, scorer: str = "partial_ratio") -> dict[str, float]:
    """Example id -> similarity (0..100) of ``query`` to the example's text."""
    if scorer not in SCORERS:
        raise RequestError(f"unknown scorer {scorer!r}; choose one of {', '.join(SCORERS)}")
    if not utils.default_process(query):
        raise RequestError("the forget request is empty: give a query with letters or digits")
    if not examples:
        raise RequestError("there are no examples to search")
    score = SCORERS[scorer]
    return {e.id: score(query, e.text, processor=utils.default_process) for e in examples}


def parse(examples: list[Example], query: str) -> list[str]:
    """What the command line's FORGET means: a person, or ids separated by commas."""
    if any(example.person == query.strip() for example in examples):
        return by_person(examples, query.strip())
    parts = [part.strip() for part in query.split(",") if part.strip()]
    ids = {example.id for example in examples}
    if len(parts) == 1 and parts[0] not in ids:
        known = sorted(ids | {example.person for example in examples if example.person})
        raise RequestError(f"{parts[0]!r} is neither a person nor an id ({_nearest(parts[0], known)})")
    return exact(examples, parts)


def precision_recall(ids: Collection[str], truth: Collection[str]) -> tuple[float, float]:
    """Share of ``ids`` that are in ``truth``, and share of ``truth`` that is in ``ids``."""
    found, true = set(ids), set(truth)
    if not found or not true:
        raise RequestError("precision and recall need a non-empty request and a non-empty truth")
    return len(found & true) / len(found), len(found & true) / len(true)


def _nearest(name: str, known: Collection[str]) -> str:
    close = process.extract(name, known, processor=utils.default_process, limit=SUGGESTIONS)
    names = ", ".join(match for match, *_ in close)
    return f"nearest: {names}" if names else "there are none to choose from"
