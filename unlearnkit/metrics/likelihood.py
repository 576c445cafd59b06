"""Teacher-forced measures of each answer: NLL, probability, exact memorisation, extraction strength."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.batching import Batch, batch_of
from unlearnkit.data import Example
from unlearnkit.forward import evaluation_mode, target_logits
from unlearnkit.metrics.forward import by_length, require_finite


@torch.no_grad()
def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 32,
) -> pd.DataFrame:
    """One row per example, in input order, from one forward pass a batch.

    Columns: id, person, split; `n_tokens` answer tokens; `nll` their mean negative log likelihood in nats;
    `probability` = exp(-nll); `exact_memorisation`, the share of them that are the teacher-forced argmax;
    `extraction_strength` = 1 - k/n_tokens with k the length of the shortest prefix after which every argmax
    is right (0 where the last one is wrong). Raises DataError for no examples or an example without a
    target, DivergenceError where the model gives no finite NLL.
    """
    rows: dict[int, dict[str, object]] = {}
    with evaluation_mode(model):
        for indices in by_length(examples, batch_size):
            chosen = [examples[i] for i in indices]
            nll, right = answer_tokens(model, batch_of(tokenizer, chosen))
            require_finite(torch.stack([n.mean() for n in nll]), [e.id for e in chosen], "NLL")
            rows |= {i: _row(examples[i], n, r) for i, n, r in zip(indices, nll, right, strict=True)}
    return pd.DataFrame([rows[i] for i in range(len(examples))])


def known(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 32,
) -> list[Example]:
    """The examples that the model answers greedily, in input order: each answer token is the argmax.

    One teacher-forced pass tells, since every token before is then the one that it says. Raises as `score`.
    """
    shares = score(model, tokenizer, examples, batch_size)["exact_memorisation"]
    return [example for example, share in zip(examples, shares, strict=True) if share == 1]


def answer_tokens(
    model: PreTrainedModel, batch: Batch
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Per example, the NLL of each labelled token and whether the argmax is that token, each (n,)."""
    logits, tokens, counts = target_logits(model, batch)
    nll = F.cross_entropy(logits, tokens, reduction="none")
    return nll.split(counts), (logits.argmax(-1) == tokens).split(counts)


def extraction_strength(right: Sequence[bool]) -> float:
    """1 - k/T of one answer, given which of its T argmaxes are right; 0 when nothing matches."""
    wrong = [i for i, ok in enumerate(right) if not ok]
    prefix = wrong[-1] + 1 if wrong else 0
    return 1 - prefix / len(right)


def _row(example: Example, nll: torch.Tensor, right: torch.Tensor) -> dict[str, object]:
    mean = nll.mean().item()
    return {
        "id": example.id,
        "person": example.person,
        "split": example.split,
        "n_tokens": len(nll),
        "nll": mean,
        "probability": math.exp(-mean),
        "exact_memorisation": right.float().mean().item(),
        "extraction_strength": extraction_strength(right.tolist()),
    }


def paraphrased(examples: Sequence[Example]) -> list[Example]:
    """Each paraphrase as the prompt of an example of its own, with the same answer.

    Ids get the suffix "#1", "#2", ... in the order of `Example.paraphrases`.
    """
    return [
        replace(example, id=f"{example.id}#{number}", prompt=prompt, paraphrases=())
        for example in examples
        for number, prompt in enumerate(example.paraphrases, start=1)
    ]
