"""Task arithmetic: what more training on the forget set adds, taken away (Ilharco et al. 2023)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Count, From0, LossOn, Seed

if TYPE_CHECKING:
    import torch


@line(title="task vector", family="weights", source="Ilharco et al. 2023", needs=("examples", "tokenizer"))
def task_vector(
    inputs,
    *,
    lr: From0 = 1e-5,
    epochs: Count = 5,
    batch_size: Count = 8,
    loss_on: LossOn = "answer",
    seed: Seed = 0,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """-(theta_F - theta): theta_F is the model trained further on the request; alpha is the paper's lambda.

    lr and epochs are MUSE's (R: muse_bench subtracts from the fine-tuned model too); AdamW. Holds a second
    model in memory.
    """
    from unlearnkit.training import Recipe
    from unlearnkit.unlearning.past import learnt

    told = {"epochs": epochs, "batch_size": batch_size, "loss_on": loss_on, "seed": seed}
    for name, added in learnt(inputs, inputs.forget, Recipe("adamw", lr=lr, **told)):
        yield name, -added
