"""From a forget request to the ids of the examples to forget.

An exact request names ids or a person of the ground truth; a fuzzy one compares a query with the text of
every example, as one would without labels, and is judged by its precision and recall. Names are compared in
Unicode's composed form: it does not matter how an accent was typed.
"""

from collections.abc import Callable, Collection, Iterable
from numbers import Real

from rapidfuzz import fuzz, process, utils

from unlearnkit.data import Example
from unlearnkit.errors import RequestError
from unlearnkit.writing import composed

# Character similarity in 0..100. partial_ratio takes the best window of the text: the plain ratio of a name
# to a whole sentence is low even when the name is in it.
SCORERS: dict[str, Callable[..., float]] = {
    "partial_ratio": fuzz.partial_ratio,
    "token_set_ratio": fuzz.token_set_ratio,
}
SUGGESTIONS = 3


def exact(examples: list[Example], ids: Iterable[str]) -> list[str]:
    """The requested ids, each once, in the examples' order; RequestError names unknown ones, and no texts."""
    if not isinstance(ids, Iterable):
        raise RequestError(f"ids must be texts, got {ids!r}")
    wanted = {composed(_text("an id", id)) for id in ([ids] if isinstance(ids, str) else ids)}
    known = [composed(example.id) for example in examples]
    if not wanted:
        raise RequestError("the forget request is empty: name at least one id or a person")
    if unknown := sorted(wanted - set(known)):
        hints = "; ".join(f"{name!r} ({_nearest(name, known)})" for name in unknown[:SUGGESTIONS])
        more = f" and {len(unknown) - SUGGESTIONS} more" if len(unknown) > SUGGESTIONS else ""
        raise RequestError(f"unknown id {hints}{more}")
    return [example.id for example, id in zip(examples, known, strict=True) if id in wanted]


def by_person(examples: list[Example], person: str) -> list[str]:
    """The ids of every fact about ``person`` (ground truth, letter for letter); RequestError for nobody."""
    if not _text("person", person).strip():
        raise RequestError("the forget request is empty: name a person")
    if ids := [example.id for example in examples if composed(example.person) == composed(person)]:
        return ids
    people = sorted({example.person for example in examples if example.person})
    raise RequestError(f"no fact is about {person!r} ({_nearest(person, people)})")


def fuzzy(
    examples: list[Example], query: str, threshold: float = 80, scorer: str = "partial_ratio"
) -> list[str]:
    """The ids of examples whose text resembles ``query`` by at least ``threshold`` (0..100).

    Case and punctuation do not count. RequestError for an empty query or none, an unknown scorer, a threshold
    that is no number or out of range, or when nothing matches (with the best score reached).
    """
    if not isinstance(threshold, Real) or not 0 <= threshold <= 100:
        raise RequestError(f"threshold must lie between 0 and 100, got {threshold!r}")
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
    if not _plain(_text("query", query)):
        raise RequestError("the forget request is empty: give a query with letters or digits")
    if not examples:
        raise RequestError("there are no examples to search")
    score = SCORERS[scorer]
    return {e.id: score(query, e.text, processor=_plain) for e in examples}


def parse(examples: list[Example], query: str) -> list[str]:
    """What the command line's FORGET means: persons and ids, separated by commas.

    A name may hold commas itself. RequestError for an empty request, for unknown names, for a name that is a
    person's and another fact's id, and where commas leave more than one reading.
    """
    ids, persons = _known(examples)
    parts, known = _text("query", query).split(","), sorted(ids | persons)
    readings = _readings(parts, set(known))
    if len(readings) > 1:
        ways = " or as ".join(" and ".join(map(repr, names)) for names in readings)
        raise RequestError(
            f"{query!r} can be read as {ways}: rename one of them in the data, without a comma"
        )
    wanted: set[str] = set()
    for name in readings[0] if readings else _unread(parts, known):
        if name in ids and name in persons and ids[name] != persons[name]:
            raise RequestError(
                f"{name!r} is a person, with {len(persons[name])} facts, and an id: rename that in the data"
            )
        wanted |= ids.get(name, set()) | persons.get(name, set())
    if not wanted:
        raise RequestError("the forget request is empty: name at least one id or a person")
    return [example.id for example in examples if example.id in wanted]


def _known(examples: list[Example]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The ids of the facts that each id, and each person, stands for; both in composed form."""
    ids = {composed(example.id): {example.id} for example in examples}
    persons: dict[str, set[str]] = {}
    for example in examples:
        if example.person:
            persons.setdefault(composed(example.person), set()).add(example.id)
    return ids, persons


def _readings(parts: list[str], known: Collection[str]) -> list[list[str]]:
    """Up to two ways to join the parts of a request to known names, blank parts left out; none: []."""
    longest = 1 + max((name.count(",") for name in known), default=0)
    found: list[list[list[str]]] = [[] for _ in parts] + [[[]]]  # of the parts from each place on
    for start in reversed(range(len(parts))):
        if not parts[start].strip():
            found[start] += found[start + 1]
        for stop in range(start + 1, min(start + longest, len(parts)) + 1):
            name = composed(",".join(parts[start:stop]).strip())
            if name in known:
                found[start] += [[name, *rest] for rest in found[stop]]
        found[start] = found[start][:2]
    return found[0]


def _unread(parts: list[str], known: Collection[str]) -> list[str]:
    """RequestError that names the parts which are no known name; [] where there are only blank ones."""
    names = [part.strip() for part in parts if part.strip()]
    if unknown := [name for name in names if composed(name) not in known]:
        hints = [f"{n!r} is neither a person nor an id ({_nearest(n, known)})" for n in unknown[:SUGGESTIONS]]
        more = f"; and {len(unknown) - SUGGESTIONS} more" if len(unknown) > SUGGESTIONS else ""
        raise RequestError("; ".join(hints) + more)
    return []


def precision_recall(ids: Collection[str], truth: Collection[str]) -> tuple[float, float]:
    """Share of ``ids`` that are in ``truth``, and share of ``truth`` that is in ``ids``."""
    found, true = set(ids), set(truth)
    if not found or not true:
        raise RequestError("precision and recall need a non-empty request and a non-empty truth")
    return len(found & true) / len(found), len(found & true) / len(true)


def _text(name: str, value: object) -> str:
    """The value of an argument of that name. RequestError where it is no text."""
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a text, got {value!r}")
    return value


def _plain(text: str) -> str:
    """Letters and digits in lower case, as scorers compare them."""
    return utils.default_process(composed(text))


def _nearest(name: str, known: Collection[str]) -> str:
    close = process.extract(name, known, scorer=fuzz.ratio, processor=_plain, limit=SUGGESTIONS)
    names = ", ".join(match for match, *_ in close)
    return f"nearest: {names}" if names else "there are none to choose from"
