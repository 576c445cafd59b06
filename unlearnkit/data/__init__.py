"""The study's facts, others of many kinds, a user's own, and the texts that measure utility."""

from unlearnkit.data.aliases import under_alias
from unlearnkit.data.example import Example, digest, require_own_ids, spread
from unlearnkit.data.facts import background_facts, dave, holdout, persons, pool, retarget, world
from unlearnkit.data.files import load, load_jsonl, save_jsonl
from unlearnkit.data.probes import asked_otherwise
from unlearnkit.data.real import counterfactual, real_persons, world_facts
from unlearnkit.data.text import biographies, utility_text
from unlearnkit.data.tofu import load_tofu
from unlearnkit.data.tofu_shape import tofu_like
from unlearnkit.data.verbatim import passages

__all__ = [
    "Example",
    "asked_otherwise",
    "background_facts",
    "biographies",
    "counterfactual",
    "dave",
    "digest",
    "holdout",
    "load",
    "load_jsonl",
    "load_tofu",
    "passages",
    "persons",
    "pool",
    "real_persons",
    "require_own_ids",
    "retarget",
    "save_jsonl",
    "spread",
    "tofu_like",
    "under_alias",
    "utility_text",
    "world",
    "world_facts",
]
