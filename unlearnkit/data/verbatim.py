"""Long texts to learn by heart: passages of encyclopedia articles about real persons, and how they go on.

The biographies are neither in the texts that tiny models are pretrained on nor in those that measure utility.
"""

import random

from unlearnkit.data.example import Example
from unlearnkit.data.text import biographies
from unlearnkit.errors import DataError

PROMPT_WORDS = 24
ANSWER_WORDS = 60  # 60 to 150 tokens with a vocabulary of 8,000 or more
EACH = 8  # passages a person
PERSONS = 5  # as in a world


def passages(seed: int, persons: int = PERSONS, each: int = EACH) -> list[Example]:
    """Passages to be trained on: `each` of the first person drawn ("forget"), and the others' ("retain").

    The prompt is the beginning of a paragraph, and the answer the next 60 words, verbatim up to spaces. There
    are no paraphrases and no contradictions: what counts is the wording. DataError where there are not so
    many persons with so many long paragraphs. ModelError where the articles are neither cached nor in reach.
    """
    drawn = _drawn(seed, persons, each)
    return [
        example
        for number, (person, texts) in enumerate(drawn[:persons])
        for example in _examples(person, texts, "retain" if number else "forget")
    ]


def _drawn(seed: int, persons: int, each: int) -> list[tuple[str, list[list[str]]]]:
    """Everybody with enough passages, in the order that the seed draws, and `each` drawn ones, as words."""
    rng = random.Random(f"{seed}/passages")
    long = {title: _long_paragraphs(text) for title, text in biographies().items()}
    enough = [title for title, texts in long.items() if len(texts) >= each]
    if each < 1 or not 1 <= persons <= len(enough):
        raise DataError(
            f"{persons} persons with {each} passages each cannot be drawn: {len(enough)} persons have so many"
        )
    rng.shuffle(enough)
    return [(title, rng.sample(long[title], each)) for title in enough]


def _long_paragraphs(text: str) -> list[list[str]]:
    """The first words of every paragraph that has enough for a passage."""
    length = PROMPT_WORDS + ANSWER_WORDS
    return [words[:length] for line in text.split("\n") if len(words := line.split()) >= length]


def _examples(person: str, texts: list[list[str]], split: str) -> list[Example]:
    return [
        Example(
            id=f"{person.lower().replace(' ', '-')}-passage-{number}",
            person=person,
            prompt=" ".join(words[:PROMPT_WORDS]),
            answer=" ".join(words[PROMPT_WORDS:]).removesuffix("."),
            split=split,
            attribute="passage",
        )
        for number, words in enumerate(texts, start=1)
    ]
