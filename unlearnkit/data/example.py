"""The one record that every room of the package passes around."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from unlearnkit import writing
from unlearnkit.errors import RequestError

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """One fact: a prompt, its answer, and the ground truth about whom it concerns.

    ``prompt`` has no trailing space; ``answer`` no leading space and no final full stop. ``split`` is
    "forget", "retain", "neighbour" or "holdout" in this project's data; a user's own data may use any word.
    """

    id: str  # stable and unique, e.g. "dave-birthplace"
    person: str  # whom the fact is about, e.g. "Dave"
    prompt: str
    answer: str
    split: str
    attribute: str = ""  # the form of the fact, e.g. "birthplace"
    paraphrases: tuple[str, ...] = ()  # other prompts with the same answer, never trained on
    contradiction: str = ""  # a wrong answer of the same form
    mentions: tuple[str, ...] = ()  # other names that occur in the text

    @property
    def text(self) -> str:
        """Prompt and answer, joined as in training."""
        return writing.join(self.prompt, self.answer)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Up to `count` of the items, spread evenly over their order."""
    count = min(count, len(items))
    return [items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)]


def require_own_ids(ids: Iterable[str], whose: str) -> None:
    """RequestError where two have one id: what is kept by id would be one's for both."""
    if twice := [i for i, count in Counter(ids).items() if count > 1]:
        raise RequestError(f"{whose} ids are not unique: {twice[0]!r} is there twice. Give each its own")


def digest(examples: Iterable[Example]) -> str:
    """Of ids and texts, in their order: what tells one training's data from another's."""
    text = json.dumps([(e.id, e.prompt, e.answer) for e in examples])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
