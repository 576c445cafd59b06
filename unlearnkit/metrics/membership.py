"""Membership inference: scores of each example, higher where it looks more as if it was trained on.

What tells of unlearning is a score's difference between an unlearned model and an oracle: `stats.auc` and
`stats.auc_difference` take members' and others' scores.
"""

import zlib
from collections.abc import Sequence

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.batching import Batch, batch_of
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError
from unlearnkit.forward import evaluation_mode, target_logits
from unlearnkit.metrics.forward import by_length, require_finite

SHARE = 0.2  # of the tokens, the least likely ones: Min-K %


@torch.no_grad()
def membership(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    reference: PreTrainedModel | None = None,
    share: float = SHARE,
    loss_on: str = "answer",
    batch_size: int = 32,
) -> pd.DataFrame:
    """One row an example, in input order: id, person, split, and the scores; of the tokens that count.

    loss       -NLL, mean over tokens (Yeom et al. 2018)
    zlib       -NLL / bytes of the zlib-compressed text scored (Carlini et al. 2021)
    min_k      mean log probability of the share of tokens that are least likely, one or more (Shi et al.
               2024, arXiv:2310.16789)
    min_k_pp   the same of (log p - mu) / sigma, with mu and sigma those of log p over the vocabulary under
               the model (Zhang et al. 2024, arXiv:2404.02936)
    reference  NLL under `reference` less NLL (Carlini et al. 2021); where there is one

    A name in a prompt tells persons apart whoever was trained on, so that only answers count by default.
    Raises DataError for no examples or one without a target, DivergenceError for scores that are not finite.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share={share} must lie in (0, 1]")
    rows: dict[int, dict[str, float]] = {}
    for indices in by_length(examples, batch_size):
        chosen = [examples[i] for i in indices]
        batch = batch_of(tokenizer, chosen, loss_on)
        logp, normed = _tokens(model, batch)
        before = _tokens(reference, batch)[0] if reference is not None else [None] * len(chosen)
        for i, own, z, known in zip(indices, logp, normed, before, strict=True):
            text = examples[i].answer if loss_on == "answer" else examples[i].text
            rows[i] = _scores(own, z, text, share)
            if known is not None:
                rows[i]["reference"] = (own.mean() - known.mean()).item()
        values = torch.tensor([list(rows[i].values()) for i in indices])
        require_finite(values.sum(1), batch.ids, "membership score")
    told = [{"id": e.id, "person": e.person, "split": e.split} | rows[i] for i, e in enumerate(examples)]
    return pd.DataFrame(told)


def _tokens(model: PreTrainedModel, batch: Batch) -> tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]:
    """Per example, of each token that counts: its log probability, and that as Min-K%++ normalises it."""
    with evaluation_mode(model):
        logits, tokens, counts = target_logits(model, batch)
    every = logits.log_softmax(-1)
    p, own = every.exp(), every.gather(-1, tokens[:, None])[:, 0]
    mu = torch.special.entr(p).sum(-1).neg()
    sigma = (p * (every - mu[:, None]).square()).sum(-1).sqrt()
    # A uniform distribution has no spread; every token is then at its mean.
    normed = (own - mu) / sigma.clamp(min=torch.finfo(sigma.dtype).eps)
    return own.split(counts), normed.split(counts)


def _scores(logp: torch.Tensor, normed: torch.Tensor, text: str, share: float) -> dict[str, float]:
    loss, count = logp.mean().item(), max(1, int(share * len(logp)))
    least, least_normed = (v.sort()[0][:count].mean().item() for v in (logp, normed))
    size = len(zlib.compress(text.encode()))
    return {"loss": loss, "zlib": loss / size, "min_k": least, "min_k_pp": least_normed}
