"""The influence function's step: what leaving the forget set out would do to a minimum, to first order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Count, From0, LossOn

if TYPE_CHECKING:
    import torch

NEEDS = ("examples", "retain", "tokenizer")


@line(title="inverse Hessian", family="retraining", source="Koh & Liang 2017", needs=NEEDS)
def influence(
    inputs,
    *,
    damping: From0 = 0.1,
    iterations: Count = 20,
    tolerance: From0 = 1e-3,
    curvature: Count = 16,
    loss_on: LossOn = "answer",
    solver: Literal["cg", "ekfac"] = "cg",
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(G + damping * s)^-1 sum over the request of grad l_i; alpha = 1/n is the influence function's.

    G is the Gauss-Newton matrix of the mean loss of at most `curvature` retained examples, every k-th: the
    Hessian without the part that can be negative away from a minimum. s is G's mean along the gradient
    itself, so that damping has no unit; 0.1 of the mean eigenvalue is Grosse et al.'s (R). Solved by
    conjugate gradients (Koh & Liang allow 100 iterations to 1e-8, R; the fewer are ours), over the touched
    layers only; with `solver="ekfac"` by kronfluence's factors of the block matrices (`ekfac`), and others
    stay.
    """
    import torch

    from unlearnkit import ekfac
    from unlearnkit.batching import batch_of
    from unlearnkit.forward import losses
    from unlearnkit.influence import conjugate_gradient, double_differentiable, gauss_newton
    from unlearnkit.unlearning.descent import require_whole

    require_whole(inputs)
    moving, kept = inputs.touched, inputs.retain[:: -(-len(inputs.retain) // curvature)]
    with torch.enable_grad(), double_differentiable(inputs.model):
        value = losses(inputs.model, batch_of(inputs.tokenizer, inputs.forget, loss_on)).sum()
        found = dict(zip(moving, torch.autograd.grad(value, list(moving.values())), strict=True))
        if solver == "ekfac":
            found = ekfac.solve(inputs.model, inputs.tokenizer, kept, found, damping, loss_on)
            return iter(found.items())
        product = gauss_newton(inputs.model, inputs.tokenizer, kept, moving, loss_on)
        along = sum((g * c).sum() for g, c in zip(found.values(), product(found).values(), strict=True))
        size = (along / sum(g.square().sum() for g in found.values())).item()
        solved = conjugate_gradient(product, found, damping * size, iterations, tolerance)
    return iter(solved.items())
