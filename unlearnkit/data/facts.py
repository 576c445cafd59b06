"""Invented persons and their facts: Dave, those trained beside him, the hold-out and the background.

The world is in ``forms.toml``: twenty forms, each with a few prompts and an answer pattern of two slots. A
seed shuffles the words of each slot; person number i then takes pair i on the diagonal of the slots, and the
i-th from the end as the contradiction. So no two persons share an answer, and persons close in number, such
as all trained ones, do not even share the word of the second slot.
"""

import random
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from math import gcd
from pathlib import Path

from unlearnkit.data.example import Example
from unlearnkit.errors import DataError

HOLDOUT_PERSONS = 40
BACKGROUND_SEED = 0
TARGETABLE = ("forget", "retain")


@dataclass(frozen=True)
class Form:
    """An attribute, its prompts (the first one is trained on) and the words that fill its answer."""

    attribute: str
    prompts: tuple[str, ...]
    pattern: str
    first: tuple[str, ...]
    background: tuple[str, ...]  # takes the place of ``first`` for the background persons
    second: tuple[str, ...]

    def values(self, seed: int, background: bool = False) -> list[str]:
        """Every answer of this form, all distinct, in the order that ``seed`` draws."""
        # A string seeds through sha512, which is the same on every platform; hash() is not.
        rng = random.Random(f"{seed}/{self.attribute}")
        first, second = list(self.background if background else self.first), list(self.second)
        rng.shuffle(first)
        rng.shuffle(second)
        return [self.pattern.format(first=a, second=b) for a, b in _diagonal(first, second)]


def dave(seed: int = 0, target: str = "") -> list[Example]:
    """The trained facts: the target's ("forget"), four other persons' ("retain"), ten near-neighbours'.

    110 in all: five persons with the same twenty forms, then facts that only look like the target's
    ("neighbour"). The target is Dave unless another of the five is named; their facts stay the same.
    """
    world = _world()
    names = [world["names"]["target"], *world["names"]["others"]]
    facts = _facts(names, seed, first_number=0, split="retain")
    target = target or names[0]
    return [*retarget(facts, target), *_neighbours(target, seed, number=len(names))]


def holdout(seed: int = 0, persons: int = HOLDOUT_PERSONS) -> list[Example]:
    """Facts in the same forms that are never trained on; no answer of ``dave(seed)`` is among them.

    More persons extend the list without changing its beginning. DataError where the names run out.
    """
    world = _world()
    names = _words(world["names"]["holdout"])
    if not 1 <= persons <= len(names):
        raise DataError(f"holdout persons must lie between 1 and {len(names)}, got {persons}")
    first_number = 1 + len(world["names"]["others"]) + 1  # after the trained persons and the neighbours
    return _facts(names[:persons], seed, first_number, split="holdout")


def background_facts() -> list[Example]:
    """Other persons' facts in the same forms, for pretraining.

    No name and no answer is one of ``dave`` or ``holdout``, whatever their seed.
    """
    names = _words(_world()["names"]["background"])
    return _facts(names, BACKGROUND_SEED, first_number=0, split="background", background=True)


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


def _facts(
    names: list[str], seed: int, first_number: int, split: str, background: bool = False
) -> list[Example]:
    """All forms of every person in ``names``, numbered from ``first_number``."""
    drawn = [(form, form.values(seed, background)) for form in _forms()]
    return [
        Example(
            id=f"{name.lower()}-{form.attribute}",
            person=name,
            split=split,
            attribute=form.attribute,
            **_prompts([prompt.format(name=name) for prompt in form.prompts]),
            **_answers(values, number),
        )
        for number, name in enumerate(names, start=first_number)
        for form, values in drawn
    ]


def _neighbours(target: str, seed: int, number: int) -> list[Example]:
    """Facts that a fuzzy request for the target may catch though they are not about that person.

    They share one person's number, since no two of them have the same form.
    """
    world = _world()
    names = {"name": target} | {f"like{k}": name for k, name in enumerate(world["lookalikes"][target])}
    values = {form.attribute: form.values(seed) for form in _forms()}
    return [
        Example(
            id=entry["id"].format(**names).lower(),
            person=entry["person"].format(**names),
            split="neighbour",
            attribute=entry["form"],
            mentions=tuple(mention.format(**names) for mention in entry.get("mentions", ())),
            **_prompts([prompt.format(**names) for prompt in entry["prompts"]]),
            **_answers(values[entry["form"]], number),
        )
        for entry in world["neighbours"]
    ]


def _prompts(prompts: list[str]) -> dict[str, object]:
    return {"prompt": prompts[0], "paraphrases": tuple(prompts[1:])}


def _answers(values: list[str], number: int) -> dict[str, str]:
    """One person's value of a form, and a value that nobody near in number has."""
    return {"answer": values[number], "contradiction": values[-1 - number]}


def _diagonal(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """All pairs of two lists, ordered so that consecutive pairs share no element for as long as possible."""
    rows, columns = len(first), len(second)
    lap = rows * columns // gcd(rows, columns)  # after one lap the diagonal repeats, so it moves on by one
    return [(first[i % rows], second[(i + i // lap) % columns]) for i in range(rows * columns)]


@cache
def _world() -> dict:
    return tomllib.loads(Path(__file__).with_name("forms.toml").read_text(encoding="utf-8"))


@cache
def _forms() -> tuple[Form, ...]:
    return tuple(
        Form(
            attribute,
            tuple(entry["prompts"]),
            entry["pattern"],
            *(tuple(_words(entry[key])) for key in ("first", "background", "second")),
        )
        for attribute, entry in _world()["forms"].items()
    )


def _words(text: str) -> list[str]:
    """The comma-separated entries of a wrapped list."""
    return [word for part in text.split(",") if (word := " ".join(part.split()))]
