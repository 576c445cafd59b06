"""The study's facts, a user's own, and the texts that measure utility."""

from unlearnkit.data.aliases import under_alias
from unlearnkit.data.example import Example
from unlearnkit.data.facts import background_facts, dave, holdout, persons, pool, retarget, world
from unlearnkit.data.files import load, load_jsonl, save_jsonl
from unlearnkit.data.text import biographies, news, utility_text
from unlearnkit.data.tofu import load_tofu

__all__ = [
    "Example",
    "background_facts",
    "biographies",
    "dave",
    "holdout",
    "load",
    "load_jsonl",
    "load_tofu",
    "news",
    "persons",
    "pool",
    "retarget",
    "save_jsonl",
    "under_alias",
    "utility_text",
    "world",
]
