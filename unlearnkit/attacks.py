"""What brings forgotten facts back for somebody who kept what should be gone: old weights, or the ledger.

Whoever unlearns for good deletes the weights before, and purges the ledger. Each attack returns how far it
comes, so that a model can be held against it.
"""

import inspect
from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutput

from unlearnkit import metrics, unlearning
from unlearnkit.data import Example
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import GradientLedger


class Guided(nn.Module):
    """A model that says what the weights before know and those after do not; metrics take it as a model.

    log p = log p_after + weight * (log p_before - log p_after), normalised (Wu et al. 2025, arXiv:2505.24379,
    reversed model guidance, without its filter of tokens): 0 is the model after, 1 the one before, and more
    says more of what set them apart.
    """

    def __init__(self, before: PreTrainedModel, after: PreTrainedModel, weight: float):
        super().__init__()
        self.before, self.after, self.weight, self.config = before, after, weight, after.config

    def get_input_embeddings(self) -> nn.Module:
        return self.after.get_input_embeddings()

    def get_output_embeddings(self) -> None:
        """None: the logits are of two heads."""

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=False) -> CausalLMOutput:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        before, after = (self._log_probabilities(m, given) for m in (self.before, self.after))
        return CausalLMOutput(logits=after + self.weight * (before - after))

    @staticmethod
    def _log_probabilities(model: PreTrainedModel, given: dict) -> torch.Tensor:
        taken = inspect.signature(model.forward).parameters
        return model(**{k: v for k, v in given.items() if k in taken}).logits.float().log_softmax(-1)


def with_old_weights(
    before: PreTrainedModel,
    after: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[Example],
    weights: Sequence[float] = (0.0, 1.0, 1.5, 2.0),
) -> pd.DataFrame:
    """What the two models together know of the facts: a row a weight, their `knowledge`."""
    return pd.DataFrame(
        [{"weight": w, **knowledge(Guided(before, after, w), tokenizer, facts)} for w in weights]
    )


def with_ledger(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[Example],
    book: GradientLedger,
    alphas: Sequence[float],
    method: str = "all_epochs",
    **options,
) -> pd.DataFrame:
    """What a model knows of the facts once their own stored gradients are descended again: a row an alpha.

    Columns alpha and those of `knowledge`; 0 is the model as it is. `method` is the direction that would
    make it forget, and each alpha, from 0 up, goes that far the other way. The model is put back.
    RequestError where the ledger was purged of one of them.
    """
    given = {"request": [e.id for e in facts], "ledger": book, "check_model": False, **options}
    back = unlearning.path(method, model, alphas=[-alpha for alpha in alphas], **given)
    return pd.DataFrame([{"alpha": -place.alpha, **knowledge(model, tokenizer, facts)} for place in back])


def spelt_out(book: GradientLedger, tokenizer: PreTrainedTokenizerBase, ids: Sequence[str]) -> dict[str, str]:
    """The texts of these examples, read off the ledger, which stores their token ids: no model is needed.

    All but the last token, from which nothing is predicted, so that it leaves no activation.
    RequestError where it was purged of one of them, LedgerError where the token matrix was frozen.
    """
    sites = [
        s for s in book.reader.sites if s.kind == "embedding" and "embedding.input" in book.tags[s.weight]
    ]
    if not sites:
        raise LedgerError(f"ledger {book.store.path} stores no token ids: its token matrix was not trained")
    keys = [(i, book.reader.first[i]) for i in book.known(ids)]
    tokens = {i: next(book.reader.read(sites[0], [(i, epoch)])).ids for i, epoch in keys}
    return {i: tokenizer.decode(row.tolist()) for i, row in tokens.items()}


def knowledge(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, facts: Sequence[Example]
) -> dict[str, float]:
    """`nll`, the answers' mean NLL in nats a token, and `recalled`, the share that is said word for word."""
    return {
        "nll": metrics.score(model, tokenizer, facts)["nll"].mean(),
        "recalled": sum(metrics.recalls(model, tokenizer, facts)) / len(facts),
    }
