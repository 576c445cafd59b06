"""SISA: the shards that held somebody retrained from before, and all shards' predictions together."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import wrapped

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NEEDS = ("shards", "examples", "tokenizer")


@wrapped(title="SISA", family="retraining", source="Bourtoule et al. 2021", needs=NEEDS)
def sisa(inputs) -> Callable[[], None]:
    """log of the mean over shards of p(token), the shards as `training.Shards` with the request deleted.

    The model's own weights stay, and play no part meanwhile: it is another model, sharded from the start. The
    paper votes or averages a classifier's probabilities; tokens' are our reading. Every shard is in memory,
    and runs in each forward pass; no gradient. Costs retraining the shards asked for, from the slice that
    first held one of the request. On all layers only.
    """
    from unlearnkit.training import Shards

    if not isinstance(inputs.shards, Shards):
        raise MethodError("method 'sisa' needs shards= as training.Shards.open(folder) gives them")
    if inputs.layers != "all":
        raise MethodError("method 'sisa' has other weights in every layer: it takes layers='all' only")
    if "forward" in inputs.model.__dict__:
        raise MethodError("method 'sisa': this model answers for its shards already; revert that first")
    given = inputs.model, inputs.tokenizer, inputs.examples
    return together(inputs.model, inputs.shards.constituents(inputs.request, *given))


def together(
    model: "PreTrainedModel", constituents: "Sequence[dict[str, torch.Tensor]]"
) -> Callable[[], None]:
    """Let the model answer with the log of the mean probability of these weights; returns what undoes it."""
    import torch

    own, named = model.forward, dict(model.named_parameters())

    @torch.no_grad()
    @wraps(own)
    def forward(*args, **given):
        kept, parts, former = {n: p.data for n, p in named.items()}, [], given.pop("past_key_values", None)
        labels = given.pop("labels", None)
        try:
            for k, weights in enumerate(constituents):
                for name, tensor in weights.items():
                    named[name].data = tensor
                output = own(*args, **given, past_key_values=former[k] if former else None)
                parts.append((output.logits.float().log_softmax(-1), output.past_key_values))
        finally:
            for name, tensor in kept.items():
                named[name].data = tensor
        output.logits = torch.stack([p for p, _ in parts]).logsumexp(0) - math.log(len(parts))
        if labels is not None:
            output.loss = model.loss_function(output.logits, labels, vocab_size=model.config.vocab_size)
        output.past_key_values = [cache for _, cache in parts] if given.get("use_cache") else None
        return output

    model.forward = forward

    def undo() -> None:
        model.__dict__.pop("forward", None)

    return undo
