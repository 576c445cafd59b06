"""Models and tokenizers: load by name, folder or hub id; describe; fingerprint; content digest.

What needs torch is imported when it is first asked for, so that `models.digest` can be had without.
"""

from importlib import import_module

_WHERE = {
    **dict.fromkeys(("DEFAULT", "REGISTRY", "Entry", "fetch", "load"), "registry"),
    **dict.fromkeys(("Description", "describe", "fingerprint"), "inspection"),
    "gpt2_tokenizer": "gpt2_bpe",
}
__all__ = [*_WHERE]


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
