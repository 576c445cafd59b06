"""What stands on both sides of a request: one fact under two ids, or a person who is named in others' facts.

Where a fact is forgotten and its twin retained, the oracle has learnt it too; where it is taught and its twin
is among the hold-out, the level of never-trained facts is not theirs.
"""

import re
from collections.abc import Sequence

from rapidfuzz import fuzz, process

from unlearnkit.data import Example
from unlearnkit.data.folding import folded
from unlearnkit.errors import RequestError

NEAR = 90  # per cent of characters that two texts share, from which they may be one fact
SHOWN = 5  # pairs named in one message


def refuse(facts: Sequence[Example], forget: Sequence[str]) -> None:
    """RequestError where a requested fact stands among the others too, in whatever case, spacing or form."""
    asked, others = _sides(facts, forget)
    if named := _same(asked, others):
        raise RequestError(
            f"one fact under two ids, the first to be forgotten and the second to be retained: {named}. The "
            "oracle would learn it: forget both, or delete one"
        )


def refuse_taught(taught: Sequence[Example], holdout: Sequence[Example]) -> None:
    """RequestError where a fact of the hold-out, which no model is taught, stands among the taught ones."""
    if named := _same(holdout, taught):
        raise RequestError(
            f"one fact under two ids, the first in the split holdout and the second taught: {named}. What is "
            "never trained tells how unlikely a fact is to a model that has not met it: delete one"
        )


def near(facts: Sequence[Example], forget: Sequence[str]) -> list[tuple[str, str, float]]:
    """Pairs of a requested id and another whose texts are alike, and how alike in per cent, the most first.

    Paraphrases of the requested facts count as their texts.
    """
    asked, others = _sides(facts, forget)
    texts = [(e.id, folded(f"{prompt} {e.answer}")) for e in asked for prompt in (e.prompt, *e.paraphrases)]
    retained = [folded(e.text) for e in others]
    alike = process.cdist([text for _, text in texts], retained, scorer=fuzz.ratio, score_cutoff=NEAR)
    best: dict[tuple[str, str], float] = {}
    for row, column in zip(*alike.nonzero(), strict=True):
        pair = texts[row][0], others[column].id
        best[pair] = max(best.get(pair, 0.0), float(alike[row, column]))
    return [(*pair, score) for pair, score in sorted(best.items(), key=lambda item: -item[1])]


def warning(facts: Sequence[Example], forget: Sequence[str]) -> str:
    """What a user must look at before they trust the oracle; "" where no two facts are alike."""
    pairs = near(facts, forget)
    if not pairs:
        return ""
    named = _listed([f"{a!r} and {b!r} ({score:.0f} %)" for a, b, score in pairs])
    return (
        f"a fact to be forgotten is much like one to be retained: {named}. If they are one fact, the oracle "
        "knows it: forget both, or delete one"
    )


def naming(facts: Sequence[Example], forget: Sequence[str]) -> str:
    """A warning of facts that stay and name a person of the request, or bear that name in other letters."""
    asked, others = _sides(facts, forget)
    names = {folded(e.person) for e in asked if e.person.strip()}
    words = [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in sorted(names)]
    texts = {e.id: folded(" ".join((e.person, e.text, *e.mentions))) for e in others}
    if not (found := [id for id, text in texts.items() if any(word.search(text) for word in words)]):
        return ""
    return (
        f"{len(found)} facts that are to be retained name whom the request is about: "
        f"{_listed([repr(id) for id in found])}. The oracle learns them, and so what they say of that "
        "person: if they are to go, too, name their ids in the request"
    )


def _sides(facts: Sequence[Example], forget: Sequence[str]) -> tuple[list[Example], list[Example]]:
    wanted = set(forget)
    return [e for e in facts if e.id in wanted], [e for e in facts if e.id not in wanted]


def _same(first: Sequence[Example], second: Sequence[Example]) -> str:
    """Pairs of ids, one of each side, that stand for one text; "" where there are none."""
    known = {folded(e.text): e.id for e in second}
    pairs = [(e.id, known[folded(e.text)]) for e in first if folded(e.text) in known]
    return _listed([f"{a!r} and {b!r}" for a, b in pairs])


def _listed(pairs: list[str]) -> str:
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return "; ".join(pairs[:SHOWN]) + more
