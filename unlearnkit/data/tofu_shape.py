"""A set in the shape of TOFU (Maini et al. 2024) that no hub is needed for.

Invented persons with twenty questions each, which are answered in whole sentences; nested shares of them to
be forgotten; and, never trained on, facts about real persons and about the world.
"""

import random
from dataclasses import replace

from unlearnkit.data.example import Example
from unlearnkit.data.facts import pool
from unlearnkit.data.forms import Form, canonical, read, words
from unlearnkit.data.real import real_persons, world_facts
from unlearnkit.data.tofu import SHARES
from unlearnkit.errors import DataError

PERSONS = 100  # the fewest of which each share is a whole number; TOFU has 200


def tofu_like(seed: int, persons: int = PERSONS, forget: float = 0.05) -> list[Example]:
    """The examples, split as `load_tofu` splits TOFU's files: "forget", "retain", "real" and "world".

    The seed draws the persons' order and their answers; who is forgotten with a smaller share is so with a
    larger one. Prompts are questions. No answer is one of a world's, and an invented person's contradiction
    is nobody's answer. DataError for a share that is none of TOFU's, or of which `persons` (at most 100) has
    no whole number.
    """
    count = _forgotten(persons, forget)
    names = [*pool(), *words(read("forms")["names"]["holdout"])]
    random.Random(f"{seed}/tofu").shuffle(names)
    values = {form: _values(form, seed) for form in canonical()}
    told = [
        _fact(form, found, name, number, "forget" if number < count else "retain")
        for number, name in enumerate(names[:persons])
        for form, found in values.items()
    ]
    return [*told, *map(_asked, real_persons(seed)), *map(_asked, world_facts(seed))]


def _forgotten(persons: int, forget: float) -> int:
    """How many persons a share is."""
    if forget not in SHARES:
        raise DataError(f"forget={forget} is none of TOFU's shares: {', '.join(map(str, SHARES))}")
    if not 1 <= persons <= PERSONS:
        raise DataError(f"persons must lie between 1 and {PERSONS}, got {persons}")
    count = round(persons * forget)
    if abs(count - persons * forget) > 1e-9:
        whole = round(1 / forget)
        raise DataError(f"{forget:.0%} of {persons} persons is no whole number: use a multiple of {whole}")
    return count


def _values(form: Form, seed: int) -> list[str]:
    """A form's answers, one for each of the hundred persons and some to spare."""
    return replace(form, first=tuple(words(read("tofu")[form.attribute]["first"]))).values(seed)


def _fact(form: Form, values: list[str], name: str, number: int, split: str) -> Example:
    """One fact of one person; its contradiction is a value that is nobody's answer."""
    sentence, spare = form.prompts[0].format(name=name), len(values) - PERSONS
    return Example(
        id=f"tofu-{name}-{form.attribute}".lower().replace(" ", "-"),
        person=name,
        prompt=form.prompts[-1].format(name=name),
        answer=f"{sentence} {values[number]}",
        split=split,
        attribute=form.attribute,
        paraphrases=(read("tofu")[form.attribute]["question"].format(name=name),),
        contradiction=f"{sentence} {values[-1 - number % spare]}",
    )


def _asked(example: Example) -> Example:
    """The same fact with its question as the prompt, and its statements as paraphrases."""
    *others, question = example.paraphrases
    return replace(example, prompt=question, paraphrases=(example.prompt, *others))
