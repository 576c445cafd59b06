"""The forms of facts: what is said of a person, in which words, and what fills the answers.

Seed 0 has the twenty forms of ``forms.toml``, each with its first prompt trained on. Any other seed draws
twenty, and the words that are trained on, from those and the further ones of ``worlds.toml``.
"""

import random
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from math import gcd
from pathlib import Path


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


@cache
def read(name: str) -> dict:
    """What ``name``.toml, beside this module, says."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def words(text: str) -> list[str]:
    """The comma-separated entries of a wrapped list."""
    return [word for part in text.split(",") if (word := " ".join(part.split()))]


@cache
def canonical() -> tuple[Form, ...]:
    """The twenty forms of seed 0, which background persons have too."""
    return _forms("forms")


@cache
def drawn(seed: int) -> tuple[Form, ...]:
    """The forms of a seed's world, as many for every seed, in the order of the files.

    Those of the near-neighbours are always among them, so that these resemble facts that are trained on.
    """
    if seed == 0:
        return canonical()
    rng = random.Random(f"{seed}/forms")
    pool, near = (*canonical(), *_forms("worlds")), {n["form"] for n in read("forms")["neighbours"]}
    others = [form for form in pool if form.attribute not in near]
    kept = near | {form.attribute for form in rng.sample(others, len(canonical()) - len(near))}
    return tuple(_worded(form, rng) for form in pool if form.attribute in kept)


def _worded(form: Form, rng: random.Random) -> Form:
    """The form, with its other words for the trained prompt in one of two cases, where it has such."""
    other = read("worlds")["other_prompts"].get(form.attribute)
    return replace(form, prompts=(other, *form.prompts[1:])) if rng.random() < 0.5 and other else form


def _forms(name: str) -> tuple[Form, ...]:
    return tuple(
        Form(
            attribute,
            tuple(entry["prompts"]),
            entry["pattern"],
            *(tuple(words(entry.get(key, ""))) for key in ("first", "background", "second")),
        )
        for attribute, entry in read(name)["forms"].items()
    )


def _diagonal(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """All pairs of two lists, ordered so that consecutive pairs share no element for as long as possible."""
    rows, columns = len(first), len(second)
    lap = rows * columns // gcd(rows, columns)  # after one lap the diagonal repeats, so it moves on by one
    return [(first[i % rows], second[(i + i // lap) % columns]) for i in range(rows * columns)]
