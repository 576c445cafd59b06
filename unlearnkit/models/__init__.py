"""Models and tokenizers: load by name, folder or hub id; describe; fingerprint."""

from unlearnkit.models.gpt2_bpe import gpt2_tokenizer
from unlearnkit.models.inspection import Description, describe, fingerprint
from unlearnkit.models.registry import DEFAULT, REGISTRY, Entry, fetch, load

__all__ = [
    "DEFAULT",
    "REGISTRY",
    "Description",
    "Entry",
    "describe",
    "fetch",
    "fingerprint",
    "gpt2_tokenizer",
    "load",
]
