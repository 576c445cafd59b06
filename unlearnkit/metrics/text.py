"""Perplexity and bits per character of running text: how much of the model's language is left."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.errors import ConfigError, DataError, DivergenceError
from unlearnkit.forward import device_of, evaluation_mode, positions_of


class Window(NamedTuple):
    """Tokens of which all but the first are predicted, and the characters that those predicted cover.

    NaN characters where the tokenizer tells no offsets.
    """

    tokens: list[int]
    characters: float


@torch.no_grad()
def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_tokens: int | None = None,
    context: int = 1024,
) -> dict[str, float]:
    """Token-weighted NLL of the texts: keys nll (nats), perplexity, bits_per_character, tokens, characters.

    Each text is cut into consecutive windows of `context` inputs (or the model's own limit, if smaller), so
    that every token but the text's first is predicted exactly once. `max_tokens` stops after that many
    predicted tokens, taken in the order of the texts. What goes by characters is NaN with a tokenizer that
    tells no offsets (a slow one). Raises DataError when there is nothing to predict.
    """
    for name, value in {"max_tokens": max_tokens, "context": context}.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value} must be at least 1")
    context = min(context, positions_of(model.config) or context)
    cut = list(windows(tokenizer, texts, context, max_tokens))
    tokens = sum(len(w.tokens) - 1 for w in cut)
    characters = sum(w.characters for w in cut)
    if not tokens or not characters:
        raise DataError("the texts are empty or of one token each: there is nothing to predict")
    with evaluation_mode(model):
        total = sum(_nll_sum(model, w.tokens) for w in cut)
    if not math.isfinite(total):
        raise DivergenceError("the NLL of the texts is not finite: the model has diverged")
    return {
        "nll": total / tokens,
        "perplexity": perplexity_of(total / tokens),
        "bits_per_character": total / math.log(2) / characters,
        "tokens": tokens,
        "characters": characters,
    }


def perplexity_of(nll: float) -> float:
    """exp of a mean NLL in nats; infinite, and no OverflowError, for a model that has been wrecked."""
    try:
        return math.exp(nll)
    except OverflowError:
        return math.inf


def windows(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], context: int, max_tokens: int | None
) -> Iterator[Window]:
    """Consecutive windows of the texts; the last target of one is the first input of the next."""
    left = math.inf if max_tokens is None else max_tokens
    asked = {"add_special_tokens": False, "return_offsets_mapping": tokenizer.is_fast, "verbose": False}
    for text in texts:
        encoded = tokenizer(text, **asked)
        tokens = encoded["input_ids"]
        ends = [end for _, end in encoded.get("offset_mapping", [(0, math.nan)] * len(tokens))]
        for start in range(0, len(tokens) - 1, context):
            stop = int(min(start + context + 1, len(tokens), start + 1 + left))
            yield Window(tokens[start:stop], ends[stop - 1] - ends[start])
            left -= stop - start - 1
            if left == 0:
                return


def _nll_sum(model: PreTrainedModel, tokens: list[int]) -> float:
    """Summed NLL of all tokens but the first. One window a pass: on a CPU its logits then fit the cache."""
    window = torch.tensor([tokens]).to(device_of(model))
    logits = model(input_ids=window[:, :-1], use_cache=False).logits[0]
    return F.cross_entropy(logits.float(), window[0, 1:], reduction="none").double().sum().item()
