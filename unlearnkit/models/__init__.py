"""Models and tokenizers: load by name, folder or hub id; describe; fingerprint, and digest without loading.

recipes   what the built models are made from; registry: names, and the folder of each; building: made once
digest    a digest of what a name stands for; loading: the model itself, ready to measure
fitting   whether texts and tokenizer fit a model; inspection: what a model is, for reports
smollm2, tiny, pretraining (with muon), untied, gpt2_bpe  make what is not downloaded as it is
"""

from unlearnkit.models.digest import digest
from unlearnkit.models.registry import DEFAULT, REGISTRY, Entry, fetch

__all__ = [
    "DEFAULT",
    "REGISTRY",
    "Description",
    "Entry",
    "describe",
    "digest",
    "fetch",
    "fingerprint",
    "gpt2_tokenizer",
    "load",
]


def __getattr__(name: str) -> object:
    """The names that need torch, imported when one is asked for: `digest` does not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unlearnkit.models.gpt2_bpe import gpt2_tokenizer
    from unlearnkit.models.inspection import Description, describe, fingerprint
    from unlearnkit.models.loading import load

    globals().update({f.__name__: f for f in (Description, describe, fingerprint, gpt2_tokenizer, load)})
    return globals()[name]
