"""Scales that learn the forget set, turned about one (PEM composition, (IA)^3)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Count, From0, LossOn, Seed

if TYPE_CHECKING:
    import torch

NEEDS = ("examples", "tokenizer")


@line(title="(IA)³ negation", family="weights", source="Zhang et al. 2023, PEM composition", needs=NEEDS)
def pem(
    inputs,
    *,
    lr: From0 = 5e-3,
    epochs: Count = 10,
    batch_size: Count = 8,
    loss_on: LossOn = "answer",
    seed: Seed = 0,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(1 - l) * W of every touched matrix: l scales what it puts out, a number each, learned on the request.

    theta + alpha * this is l <- (1 + alpha) - alpha * l, the paper's negation with lambda = alpha (R; so are
    lr and epochs). (IA)^3 scales keys, values and the MLP's middle; we scale what every matrix puts out,
    since some models keep queries, keys and values in one; biases stay as they are. AdamW.
    """
    import torch

    from unlearnkit.training import Recipe
    from unlearnkit.training.steps import optimizer, plan
    from unlearnkit.unlearning.descent import require_whole

    require_whole(inputs)
    matrices = {n: p for n, p in inputs.touched.items() if p.dim() == 2}
    if not matrices:
        raise MethodError(f"method 'pem': layers {inputs.layers!r} have no matrix to scale; name others")
    start = {n: p.detach().clone() for n, p in matrices.items()}
    across = {n: _across(inputs.model, n) for n in matrices}
    scales = {
        n: torch.nn.Parameter(p.detach().float().amax(across[n], True) * 0 + 1) for n, p in matrices.items()
    }
    recipe = Recipe("adamw", epochs=epochs, lr=lr, batch_size=batch_size, loss_on=loss_on, seed=seed)
    descent = optimizer(scales.values(), recipe)
    for step in (s for epoch in plan({e.id: e for e in inputs.forget}, recipe, ()) for s in epoch):
        with torch.enable_grad():
            step.backward(inputs.model, inputs.tokenizer)
        for name, scale in scales.items():
            scale.grad = (matrices[name].grad * start[name]).float().sum(across[name], keepdim=True)
        descent.step()
        for name, scale in scales.items():
            matrices[name].data.copy_(start[name] * scale.detach())
    inputs.model.zero_grad(set_to_none=True)
    inputs.originals.restore()
    return ((n, (1 - scales[n].detach()) * weight) for n, weight in start.items())


def _across(model, name: str) -> int:
    """The dimension of a matrix that runs over what enters it."""
    from torch import nn

    module = model.get_submodule(name.rpartition(".")[0])
    return 1 if isinstance(module, nn.Linear) else 0
