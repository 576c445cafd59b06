"""What the losses of trained methods are made of.

A batch's loss is the mean over its examples of each example's mean over its labelled tokens, as in training:
no example weighs more for being long, or for who else is in its batch. Padding plays no part: only positions
that predict a target are looked at. (Reference codes often average over all tokens of a batch, with prompts
and padding among them.)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from unlearnkit.batching import Batch
from unlearnkit.forward import losses, target_logits
from unlearnkit.unlearning.inputs import Inputs


def mean_nll(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """The mean of the examples' l_i."""
    return losses(model, batch).mean()


def summed_nll(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """-log p(labelled tokens) of each example, shape (B,): not divided by how many they are."""
    logits, tokens, counts = target_logits(model, batch)
    nll = F.cross_entropy(logits, tokens, reduction="none")
    return torch.stack([part.sum() for part in nll.split(counts)])


def retained(inputs: Inputs, retain: Batch | None, weight: float) -> torch.Tensor | float:
    """weight * mean NLL of the retain batch; weight 0 needs none (`frame.Method.wants`)."""
    return weight * mean_nll(inputs.model, retain) if weight else 0.0


def log_probabilities(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[int]]:
    """log p (N, V) at every position that predicts a target, and how many each example has."""
    logits, _, counts = target_logits(model, batch)
    return logits.log_softmax(-1), counts


def kl(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) in nats at each position: (N, V) twice gives (N,)."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def by_example(values: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Values (N,) at positions, mean over those of each example: (B,)."""
    return torch.stack([part.mean() for part in values.split(list(counts))])


def averaged(values: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Values (N,) at positions, mean over each example's, then over the examples."""
    return by_example(values, counts).mean()


def lowered(logits: torch.Tensor, raised: torch.Tensor, penalty: float) -> torch.Tensor:
    """logits - penalty * ReLU(raised - logits): lower where `raised` is higher, and as they are elsewhere."""
    return logits - penalty * F.relu(raised - logits)
