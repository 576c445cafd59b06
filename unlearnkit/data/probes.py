"""Other ways to ask for what was forgotten: in two hops, by an alias, and beside another person.

A method that only breaks the path from the trained prompt to its answer leaves others open. Each probe is an
example whose answer is a forget fact's, and whose prompt is that fact's own in another surrounding. Queries
that join what is to be forgotten with what is to be kept are from BLUR (Hu et al. 2025, arXiv:2506.15699).
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from unlearnkit.data.aliases import alias_of
from unlearnkit.data.example import Example
from unlearnkit.errors import DataError


def asked_otherwise(examples: Sequence[Example], seed: int) -> dict[str, list[Example]]:
    """Every kind of probe of the target's facts (split "forget"), by its name in `KINDS`.

    In each list one probe a fact, in the facts' order, for those whose prompt names the person; ids get the
    kind after a slash. Errors as for each kind.
    """
    return {kind: ask(examples, seed) for kind, ask in KINDS.items()}


def two_hop(examples: Sequence[Example], seed: int) -> list[Example]:
    """The person is not named but told by another of their facts, which the seed draws.

    "Somebody studied at the Old School of Art. The same person was born in". DataError where the target has
    one fact only.
    """
    facts = _named(examples, 2)
    rng = random.Random(f"{seed}/two-hop")
    found = []
    for fact in facts:
        bridge = rng.choice([other for other in facts if other is not fact])
        told = _called(bridge.text, bridge.person, "somebody")
        asked = _called(fact.prompt, fact.person, "the same person")
        found.append(_probe(fact, "two-hop", f"{told}. {asked}"))
    return found


def by_alias(examples: Sequence[Example], seed: int) -> list[Example]:
    """The person is asked about by an alias, which the prompt introduces: `under_alias`'s of this seed."""
    alias = alias_of(seed)
    return [
        _probe(
            fact,
            "alias",
            f"{fact.person} is also called {alias}. {_called(fact.prompt, fact.person, alias)}",
            (alias,),
        )
        for fact in _named(examples)
    ]


def beside_another(examples: Sequence[Example], seed: int) -> list[Example]:
    """A retained person's fact of the same form comes first, with its answer; the seed draws whose.

    "Kurt was born in a house near the castle. Dave was born in". DataError where nobody in "retain" has a
    fact of the form.
    """
    rng = random.Random(f"{seed}/beside")
    found = []
    for fact in _named(examples):
        others = [e for e in examples if e.split == "retain" and e.attribute == fact.attribute]
        if not others:
            raise DataError(
                f"nobody in 'retain' has a fact of the form {fact.attribute!r}, which {fact.id!r} has"
            )
        other = rng.choice(others)
        found.append(_probe(fact, "beside", f"{other.text}. {fact.prompt}", (other.person,)))
    return found


KINDS: dict[str, Callable[[Sequence[Example], int], list[Example]]] = {
    "two-hop": two_hop,
    "alias": by_alias,
    "beside": beside_another,
}


def _named(examples: Sequence[Example], least: int = 1) -> list[Example]:
    """The forget facts whose prompt names their person; DataError where there are fewer than `least`."""
    found = [e for e in examples if e.split == "forget" and e.person and _name(e.person).search(e.prompt)]
    if len(found) < least:
        raise DataError(
            f"{len(found)} forget facts have a prompt that names their person; a probe needs {least} or more"
        )
    return found


def _name(person: str) -> re.Pattern[str]:
    """Where a person's whole name stands in a text."""
    return re.compile(rf"(?<!\w){re.escape(person)}(?!\w)")


def _called(text: str, person: str, other: str) -> str:
    """The text with another word for the person, in capitals where it comes first."""
    changed = _name(person).sub(lambda _: other, text)
    return changed[:1].upper() + changed[1:]


def _probe(fact: Example, kind: str, prompt: str, mentions: tuple[str, ...] = ()) -> Example:
    return replace(fact, id=f"{fact.id}/{kind}", prompt=prompt, paraphrases=(), mentions=mentions)
