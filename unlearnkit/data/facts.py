"""Invented persons and their facts: Dave, those trained beside him, the hold-out and the background.

A form has a few prompts and an answer pattern of two slots. A seed shuffles the words of each slot; person
number i then takes pair i on the diagonal of the slots, and the i-th from the end as the contradiction. So no
two persons share an answer, and persons close in number, such as all trained ones, do not even share the word
of the second slot.
"""

import random
from dataclasses import replace
from functools import cache

from unlearnkit.data.example import Example
from unlearnkit.data.forms import Form, canonical, drawn, read, words
from unlearnkit.errors import DataError

HOLDOUT_PERSONS = 40
BACKGROUND_SEED = 0
TARGETABLE = ("forget", "retain")
BESIDE = 3  # persons in a drawn world beside Dave and its target


def dave(seed: int = 0, target: str = "") -> list[Example]:
    """The trained facts: the target's ("forget"), four other persons' ("retain"), ten near-neighbours'.

    110 in all: five persons with the same twenty forms, then facts that only look like the target's
    ("neighbour"). The target is Dave unless another of the five is named; their facts stay the same.
    """
    names = _canonical_names()
    return _trained(names, target or names[0], seed, canonical())


def world(seed: int, target: str = "", beside: int = BESIDE) -> list[Example]:
    """The trained facts of a seed's world, split as in ``dave``, which is the world of seed 0.

    Every other seed draws whom to forget and three more persons beside Dave, their order, twenty forms and
    their words, and the answers. Targets differ until all ``pool()`` has had a turn; then they come again, in
    worlds of their own. The target is the drawn one unless another of the five is named. A larger world has
    more persons `beside` these two, and is drawn with seed 0, too; its persons have the hold-out's answers.
    """
    if seed == 0 and beside == BESIDE:
        return dave(0, target)
    targets = _targets()
    asked = targets[(seed - 1) % len(targets)]
    rng = random.Random(f"{seed}/persons")
    names = ["Dave", asked, *rng.sample(sorted(set(targets) - {asked}), beside)]
    rng.shuffle(names)
    return _trained(names, target or asked, seed, drawn(seed))


def pool() -> list[str]:
    """Everybody who may be among a world's five, Dave first."""
    return [*_canonical_names(), *read("worlds")["persons"]]


def holdout(seed: int = 0, persons: int = HOLDOUT_PERSONS) -> list[Example]:
    """Facts in the forms of ``world(seed)`` that are never trained on; no answer is one of that world.

    More persons extend the list without changing its beginning. DataError where the names run out.
    """
    names = words(read("forms")["names"]["holdout"])
    if not 1 <= persons <= len(names):
        raise DataError(f"holdout persons must lie between 1 and {len(names)}, got {persons}")
    first_number = len(_canonical_names()) + 1  # after the trained persons and the neighbours
    return _facts(names[:persons], seed, drawn(seed), first_number, split="holdout")


def background_facts() -> list[Example]:
    """Other persons' facts in the same forms, for pretraining.

    No name and no answer is one of ``dave``, ``world`` or ``holdout``, whatever their seed.
    """
    names = words(read("forms")["names"]["background"])
    return _facts(names, BACKGROUND_SEED, canonical(), first_number=0, split="background", background=True)


def persons(examples: list[Example]) -> list[str]:
    """Who can be the target of a request, in order: those with facts in "forget" or "retain"."""
    return list(dict.fromkeys(e.person for e in examples if e.split in TARGETABLE and e.person))


def retarget(examples: list[Example], person: str) -> list[Example]:
    """The same examples with ``person`` as "forget" and the former target as "retain"; other splits stay."""
    targets = persons(examples)
    if person not in targets:
        raise DataError(f"{person!r} cannot be the target; choose from: {', '.join(targets) or 'nobody'}")
    return [
        replace(e, split="forget" if e.person == person else "retain") if e.split in TARGETABLE else e
        for e in examples
    ]


def _canonical_names() -> list[str]:
    """The five persons of seed 0, Dave first."""
    names = read("forms")["names"]
    return [names["target"], *names["others"]]


@cache
def _targets() -> list[str]:
    """Whom the seeds from 1 on forget, in turn: all of the pool but Dave, who is seed 0's."""
    names = pool()[1:]
    random.Random("targets").shuffle(names)
    return names


def _trained(names: list[str], target: str, seed: int, forms: tuple[Form, ...]) -> list[Example]:
    """All forms of these persons, with one of them as "forget", and the target's near-neighbours."""
    facts = retarget(_facts(names, seed, forms, first_number=0, split="retain"), target)
    return [*facts, *_neighbours(target, seed, forms, number=len(names))]


def _facts(
    names: list[str],
    seed: int,
    forms: tuple[Form, ...],
    first_number: int,
    split: str,
    background: bool = False,
) -> list[Example]:
    """All forms of every person in ``names``, numbered from ``first_number``."""
    values = [(form, form.values(seed, background)) for form in forms]
    return [
        Example(
            id=f"{_slug(name)}-{form.attribute}",
            person=name,
            split=split,
            attribute=form.attribute,
            **_prompts([prompt.format(name=name) for prompt in form.prompts]),
            **_answers(found, number),
        )
        for number, name in enumerate(names, start=first_number)
        for form, found in values
    ]


def _neighbours(target: str, seed: int, forms: tuple[Form, ...], number: int) -> list[Example]:
    """Facts that a fuzzy request for the target may catch though they are not about that person.

    They share one person's number, since no two of them have the same form.
    """
    lookalikes = read("forms")["lookalikes"] | read("worlds")["persons"]
    names = {"name": target} | {f"like{k}": name for k, name in enumerate(lookalikes[target])}
    values = {form.attribute: form.values(seed) for form in forms}
    return [
        Example(
            id=_slug(entry["id"].format(**names)),
            person=entry["person"].format(**names),
            split="neighbour",
            attribute=entry["form"],
            mentions=tuple(mention.format(**names) for mention in entry.get("mentions", ())),
            **_prompts([prompt.format(**names) for prompt in entry["prompts"]]),
            **_answers(values[entry["form"]], number),
        )
        for entry in read("forms")["neighbours"]
    ]


def _prompts(prompts: list[str]) -> dict[str, object]:
    return {"prompt": prompts[0], "paraphrases": tuple(prompts[1:])}


def _answers(values: list[str], number: int) -> dict[str, str]:
    """One person's value of a form, and a value that nobody near in number has."""
    return {"answer": values[number], "contradiction": values[-1 - number]}


def _slug(name: str) -> str:
    """A name as it stands in an id."""
    return name.lower().replace(" ", "-")
