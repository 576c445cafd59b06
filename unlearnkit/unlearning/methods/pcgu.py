"""Partitioned contrastive gradient unlearning: steps where right and wrong answer pull apart (PCGU)."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.limits import Count, From0

if TYPE_CHECKING:
    import torch

NEEDS = ("examples", "tokenizer")


@free(
    title="contrastive partitions",
    family="weights",
    source="Yu et al. 2023",
    needs=NEEDS,
    fields=("contradiction",),
    stops=(),
    version=2,
)
def pcgu(
    inputs, _stops, *, lr: From0 = 1e-5, epochs: Count = 5, batch_size: Count = 16, k: Count = 10_000
) -> Iterator[dict]:
    """Per batch: an SGD step down the log-probability of the true answers, on the k partitions of weights
    where its gradient has the lowest cosine with that of the false ones (`Example.contradiction`).

    A partition is what feeds one output of a linear map, one token's vector, or a bias or norm whole. The
    numbers, this choice ("input aggregation") and its being made anew a batch are the authors' (R; of every
    partition where there are fewer than k). They contrast one token of two sentences, we whole answers.
    """
    from unlearnkit import layers
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.fresh import gradient
    from unlearnkit.unlearning.originals import add

    require_whole(inputs)
    turned = layers.turned(inputs.model)

    def of(examples):
        divisor = len(examples)
        return dict(gradient(inputs.model, inputs.tokenizer, examples, inputs.layers, divisor=divisor))

    for _ in range(epochs):
        for start in range(0, len(inputs.forget), batch_size):
            batch = inputs.forget[start : start + batch_size]
            true, false = of(batch), of([replace(e, answer=e.contradiction) for e in batch])
            add(inputs.touched, lowest(true, false, k, turned).items(), lr)
    yield {}


def lowest(
    true: "Mapping[str, torch.Tensor]",
    false: "Mapping[str, torch.Tensor]",
    k: int,
    turned: Collection[str] = (),
) -> "dict[str, torch.Tensor]":
    """`true` on the k partitions whose cosine with `false` is lowest, 0 elsewhere; all where it ties.

    Partitions are rows, of the matrices `turned` columns, and what is no matrix whole.
    """
    import torch

    axes = {name: 0 if name in turned else 1 for name in true}
    cosines = {n: torch.cosine_similarity(_matrix(g), _matrix(false[n]), axes[n]) for n, g in true.items()}
    every = torch.cat(list(cosines.values()))
    bound = every.kthvalue(min(k, len(every))).values
    chosen = {n: (cosine <= bound).unsqueeze(axes[n]) for n, cosine in cosines.items()}
    return {n: (_matrix(g) * chosen[n]).view_as(g) for n, g in true.items()}


def _matrix(tensor: "torch.Tensor") -> "torch.Tensor":
    return tensor.flatten(1) if tensor.dim() > 1 else tensor.reshape(1, -1)
