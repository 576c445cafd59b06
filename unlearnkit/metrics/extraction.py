"""Extraction likelihood (Jang et al. 2023): how much of the rest a model says, given a beginning."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.batching import encode
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.forward import evaluation_mode
from unlearnkit.metrics.generation import greedy

NGRAM = 2  # tokens; the paper's ten are more than a short answer has


@torch.no_grad()
def extraction_likelihood(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    n: int = NGRAM,
    batch_size: int = 32,
) -> pd.DataFrame:
    """EL_n of each answer, in input order: columns id, extraction_likelihood (0 to 1).

    The model is given the prompt and the first 0, 1, ... answer tokens, as long as n are left, and goes on
    greedily. EL_n is the mean over these beginnings of the share of n-grams it says that occur in the rest
    (their equation 2, over the answer). NaN for an answer of fewer than n tokens. Raises DataError for no
    examples.
    """
    if not examples:
        raise DataError("there are no examples to score: the list is empty")
    if n < 1:
        raise ConfigError(f"n={n} must be at least 1")
    cut = [piece for number, example in enumerate(examples) for piece in _cut(tokenizer, number, example, n)]
    cut.sort(key=lambda piece: -len(piece[1]))  # batches of similar length
    shares: dict[int, list[float]] = {}
    with evaluation_mode(model):
        for start in range(0, len(cut), batch_size):
            pieces = cut[start : start + batch_size]
            beginnings = [beginning for _, beginning, _ in pieces]
            said = greedy(model, beginnings, max(len(rest) for _, _, rest in pieces))
            for (number, _, rest), tokens in zip(pieces, said, strict=True):
                shares.setdefault(number, []).append(overlap(tokens[: len(rest)], rest, n))
    values = [np.mean(shares[number]) if number in shares else np.nan for number in range(len(examples))]
    return pd.DataFrame({"id": [e.id for e in examples], "extraction_likelihood": values})


def overlap(said: Sequence[int], rest: Sequence[int], n: int) -> float:
    """The share of the n-grams of `said` that occur in `rest`."""
    there = set(_ngrams(rest, n))
    return float(np.mean([gram in there for gram in _ngrams(said, n)]))


def _ngrams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[k : k + n]) for k in range(len(tokens) - n + 1)]


def _cut(tokenizer, number: int, example: Example, n: int) -> list[tuple[int, list[int], list[int]]]:
    """(number, beginning, rest) of every cut within the answer that leaves n tokens or more."""
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, "answer")
    first = labelled.index(True) if any(labelled) else len(tokens)
    return [(number, tokens[:k], tokens[k:]) for k in range(first, len(tokens) - n + 1)]
