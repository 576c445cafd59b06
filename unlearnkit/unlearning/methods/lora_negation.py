"""A low-rank change that learns the forget set, with its sign turned (PEM composition, LoRA)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Count, From0, LossOn, Seed

if TYPE_CHECKING:
    import torch

NEEDS = ("examples", "tokenizer")


@line(title="LoRA negation", family="weights", source="Zhang et al. 2023, PEM composition", needs=NEEDS)
def lora_negation(
    inputs,
    *,
    rank: Count = 8,
    lr: From0 = 5e-4,
    steps: Count = 20,
    batch_size: Count = 8,
    loss_on: LossOn = "answer",
    seed: Seed = 0,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """-(left @ right) of every touched matrix: LoRA that was trained on the request from the present model.

    alpha is the paper's lambda. It negates one factor only (R): with both the product would be what it was.
    Rank and steps are ours, lr is recalled (M); AdamW.
    """
    from unlearnkit.unlearning.descent import Descent
    from unlearnkit.unlearning.originals import Stored
    from unlearnkit.unlearning.terms import mean_nll

    told = {"batch_size": batch_size, "loss_on": loss_on, "seed": seed, "lora": rank}
    before = {n: p.detach().clone() for n, p in inputs.touched.items() if p.dim() == 2}
    for _ in Descent(inputs, lr, steps, **told).walk(lambda forget, _: mean_nll(inputs.model, forget)):
        pass
    found = Stored((n, start - inputs.touched[n].detach()) for n, start in before.items())
    inputs.originals.restore()
    return iter(found)
