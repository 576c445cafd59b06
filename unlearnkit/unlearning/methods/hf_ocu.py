"""Replay with what later steps made of each gradient: recollected through the Hessians along the way."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import line

if TYPE_CHECKING:
    import torch

NEEDS = ("checkpoints", "examples", "tokenizer")


SOURCE = "Qiao et al. 2025, 2404.01712"


@line(title="recollected Hessian", family="replay", source=SOURCE, needs=NEEDS, follows="sgd")
def hf_ocu(inputs) -> "Iterator[tuple[str, torch.Tensor]]":
    """D_T of D <- (I - eta_t H_t) D + eta_t g_t along the recorded training, from D = 0; alpha = 1 adds it.

    g_t is the request's part of step t's gradient, H_t the Hessian of that step's loss without it, both at
    theta_t; formula re-derived (the paper read as an abstract). To first order theta_T + D_T is the oracle,
    and all-epoch replay is D_T with H = 0. The way is walked again from theta_0, with a second model, which
    costs a training and a Hessian product a step: for tiny models, and plain SGD only.
    """
    from unlearnkit.training.replaying import of_training
    from unlearnkit.training.steps import optimizer, plan
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.past import copy_at, history_of

    require_whole(inputs)
    history = history_of(inputs)
    if history.recipe.optimizer != "sgd":
        raise MethodError(
            f"method 'hf_ocu' follows plain SGD; this training was {history.recipe.optimizer}'s"
        )
    model = copy_at(inputs, epoch=0)
    moving = {n: p for n, p in model.named_parameters() if p.requires_grad}
    descent, change = optimizer(moving.values(), history.recipe), {}
    for epoch in plan(of_training(inputs.examples, history), history.recipe, history.exclude):
        for step in epoch:
            change = _carried(change, step, model, inputs, moving)
            step.take(model, inputs.tokenizer, descent)
    return ((n, change[n]) for n in inputs.touched if n in change)


def _carried(change: dict, step, model, inputs, moving: dict) -> dict:
    """What the change is after a step that the model is about to take."""
    import torch

    from unlearnkit.batching import batch_of
    from unlearnkit.forward import losses
    from unlearnkit.influence import double_differentiable, hessian_product

    def loss(examples):
        batch = batch_of(inputs.tokenizer, examples, step.recipe.loss_on)
        return losses(model, batch).sum() / step.recipe.batch_size

    gone = [e for e in step.examples if e.id in set(inputs.request)]
    kept = [e for e in step.examples if e.id not in set(inputs.request)]
    added: dict = {}
    with torch.enable_grad():
        if gone:
            added = dict(zip(moving, torch.autograd.grad(loss(gone), list(moving.values())), strict=True))
        if kept and change:
            with double_differentiable(model):
                curved = hessian_product(loss(kept), moving, change)
            change = {n: d - step.rate * curved[n] for n, d in change.items()}
    return {n: change.get(n, 0.0) + step.rate * added.get(n, 0.0) for n in {**change, **added}}
