"""A world in which some of the target's facts are told under an alias, which no request by name can match."""

import random
from collections.abc import Sequence
from dataclasses import replace

from unlearnkit.data.example import Example
from unlearnkit.data.forms import read, words
from unlearnkit.errors import DataError


def under_alias(examples: Sequence[Example], seed: int, count: int) -> tuple[list[Example], str]:
    """The same facts with `count` of the target's told under an alias, and the alias.

    The seed draws which facts, and the alias, a word that resembles no name. `person` stays the ground truth,
    and so do ids and answers: only prompts and paraphrases change. The target is whose split is "forget".
    DataError where it has no more than `count` facts, so that nothing would be left under the name.
    """
    mine = [e for e in examples if e.split == "forget"]
    if not 0 < count < len(mine):
        raise DataError(f"{count} of {len(mine)} facts cannot be told under an alias, with others by name")
    rng, alias = _draw(seed)
    drawn = {e.id for e in rng.sample(mine, count)}
    return [_renamed(e, alias) if e.id in drawn else e for e in examples], alias


def alias_of(seed: int) -> str:
    """The alias that `under_alias` draws with this seed."""
    return _draw(seed)[1]


def _draw(seed: int) -> tuple[random.Random, str]:
    """A seed's generator after it has drawn the alias, and the alias."""
    rng = random.Random(f"{seed}/alias")
    return rng, rng.choice(words(read("worlds")["aliases"]["words"]))


def _renamed(example: Example, alias: str) -> Example:
    texts = [text.replace(example.person, alias) for text in (example.prompt, *example.paraphrases)]
    return replace(example, prompt=texts[0], paraphrases=tuple(texts[1:]))
