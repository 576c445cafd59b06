"""Single-gradient unlearning: the gradient at theta_0, once for each epoch (Thudi et al. 2022)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line

if TYPE_CHECKING:
    import torch

NEEDS = ("checkpoints", "examples", "tokenizer")


@line(title="gradient at the start", family="replay", source="Thudi et al. 2022", needs=NEEDS)
def thudi(inputs) -> "Iterator[tuple[str, torch.Tensor]]":
    """(E / B) * sum over the request of grad l_i(theta_0); alpha = lr is the paper's step (M).

    E is how many epochs each fact was trained on in, and B the batch size. `first_epoch_times_E` is the same
    with the gradients that the first epoch recorded instead of those at theta_0 itself. Holds a second model
    in memory.
    """
    from unlearnkit.unlearning.fresh import gradient
    from unlearnkit.unlearning.past import copy_at, history_of

    recipe = history_of(inputs).recipe
    model = copy_at(inputs, epoch=0)
    told = {"loss_on": recipe.loss_on, "divisor": recipe.batch_size}
    for name, found in gradient(model, inputs.tokenizer, inputs.forget, inputs.layers, **told):
        yield name, found.mul_(recipe.passes)
