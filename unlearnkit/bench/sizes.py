"""What the ledger stores: bytes an example, bytes by layer kind, and how exact they are."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from unlearnkit import layers
from unlearnkit.bench.cases import LEDGERS
from unlearnkit.bench.setting import Setting, parts
from unlearnkit.ledger import GradientLedger
from unlearnkit.ledger.proof import proven
from unlearnkit.ledger.recording import DTYPE

TOKENS = (16, 32)  # lengths at which bytes an example are told
CHECKED = 2  # examples whose gradients are compared with autograd
# What a person calls the modules of a layer name; those in the blocks are attention or MLP.
KINDS = {
    "embedding.input": "token embedding",
    "embedding.output": "output head",
    "position": "position embedding",
    "norms": "norms",
}
PARTS = {"x": "inputs", "d": "output gradients", "g": "dense gradients", "ids": "token ids"}


def stored(setting: Setting, folder: Path) -> dict:
    """Bytes an example at two lengths and in each encoding, and those of the default by layer kind."""
    found, kinds = [], []
    for tokens in sorted({*TOKENS, setting.tokens}):
        for dtype in LEDGERS:
            book = replace(setting, tokens=tokens).recorded(folder / f"{tokens}-{dtype}", dtype)
            found.append({"tokens": tokens, "dtype": dtype, "bytes": book.info()["bytes_per_record"]})
            if (tokens, dtype) == (setting.tokens, DTYPE):
                kinds = by_kind(setting.model, book)
    return {"bytes_an_example": found, "bytes_by_kind": kinds}


def by_kind(model: PreTrainedModel, book: GradientLedger) -> list[dict]:
    """Bytes an example by layer kind and part, beside the dense gradient's; a shared input counts once.

    The input (tied) and output roles of the token matrix are told apart; only one of them is dense bytes.
    """
    tags, kinds, dense = layers.tags(model), {}, Counter()
    left = {name: 4 * p.numel() for name, p in model.named_parameters()}
    for site in proven(model):
        names = set().union(*(tags[slot] for slot in site.slots()))
        block = "attention" if "att" in site.module else "MLP"
        kinds[site.module] = kind = next((KINDS[name] for name in KINDS if name in names), block)
        dense[kind] += sum(left.pop(slot.parameter, 0) for slot in site.slots())
    found: dict[str, Counter] = defaultdict(Counter)
    for name, size in book.bytes_by_site().items():
        module, _, part = name.rpartition("/")
        if module in kinds:
            found[kinds[module]][PARTS.get(part, "sums over tokens")] += size / len(book.example_ids)
    return [{"kind": k, "dense_bytes": dense[k], "parts": dict(parts)} for k, parts in found.items()]


def error(setting: Setting, path: Path, dtype: str) -> float:
    """Largest relative error of a stored gradient against autograd of one example alone, over parameters."""
    book, worst = setting.recorded(path, dtype), 0.0
    for one in list(parts(setting.examples(0), 1))[:CHECKED]:
        ours = dict(book.stream(one.ids))
        for name, theirs in setting.gradient(one).items():
            worst = max(worst, ((ours[name] - theirs).norm() / theirs.norm().clamp(min=1e-30)).item())
    return worst
