"""leak@k: what the best of k sampled answers gives away (arXiv:2511.04934). Greedy decoding hides it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import gammaln
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import writing
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.metrics.generation import samples
from unlearnkit.metrics.rouge import rouge


def leakage(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    n: int,
    seed: int = 0,
    batch_size: int = 32,
) -> pd.DataFrame:
    """How much of its answer each of n samples holds: columns id, sample, rougeL_recall, containment.

    Sampled at temperature 1, as many tokens as the answer has, by `generation.samples`; in input order.
    `containment` is 1 where all words of the answer stand in the sample, in a row, else 0. Raises DataError
    for no examples.
    """
    said = samples(model, tokenizer, examples, n, seed, batch_size)
    flat = [(e, k, text) for e, texts in zip(examples, said, strict=True) for k, text in enumerate(texts)]
    recall = rouge([text for *_, text in flat], [e.answer for e, *_ in flat])["rougeL_recall"]
    rows = [
        {"id": e.id, "sample": k, "rougeL_recall": r, "containment": float(contains(text, e.answer))}
        for (e, k, text), r in zip(flat, recall, strict=True)
    ]
    return pd.DataFrame(rows)


def contains(text: str, answer: str) -> bool:
    """Whether the words of the answer stand in the text, in a row; case and punctuation do not count."""
    words, wanted = writing.units(text), writing.units(answer)
    return any(words[k : k + len(wanted)] == wanted for k in range(len(words) - len(wanted) + 1))


def leak_at_k(values: ArrayLike, k: int) -> float:
    """Expected largest of k answers drawn from the model, unbiased, from n >= k sampled values.

    The mean of the maximum over all choose(n, k) subsets: sum_i v_(i) choose(i - 1, k - 1) / choose(n, k),
    with v_(i) in rising order (as pass@k, Chen et al. 2021). Raises ConfigError unless 1 <= k <= n.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered.ndim != 1 or not np.isfinite(ordered).all():
        raise DataError("leak@k needs a flat list of finite values, one a sample")
    n = len(ordered)
    if not 1 <= k <= n:
        raise ConfigError(f"k={k}: {n} samples give leak@k for k from 1 to {n}; draw more")
    rank = np.arange(k, n + 1)  # the smallest k - 1 are no subset's largest
    weights = np.exp(_log_choose(rank - 1, k - 1) - _log_choose(n, k))
    return float(weights @ ordered[k - 1 :])


def _log_choose(n: ArrayLike, k: int) -> np.ndarray:
    n = np.asarray(n, dtype=float)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
