"""UNDO (Lee et al. 2025, arXiv:2506.06278): unlearn, shrink and noise the weights, then distil."""

from collections.abc import Mapping
from typing import Any

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.frame import METHODS
from unlearnkit.unlearning.inputs import Stops
from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0, Seed, Share


def first_can_be(model, layers, options: Mapping[str, Any]) -> None:
    """MethodError unless `first` is another trained method, and `first_options` are what it can have."""
    first, method = options["first"], METHODS.get(options["first"])
    if method is None or method.stops or "steps" not in method.options or first == "undo":
        raise MethodError(f"method 'undo': first= is another trained method, not {first!r}")
    method.check(model, layers, method.options_from(options["first_options"] or {}))


@trained(
    title="UNDO",
    family="distillation",
    source="Lee et al. 2025 (AddieFoote/distillation-robustify-unlearning)",
    needs=("examples", "retain", "tokenizer"),
    lr=1e-4,
    steps=100,
    check=first_can_be,
)
def undo(
    inputs,
    *,
    first: str = "grad_diff",
    first_options: Mapping[str, Any] | None = None,
    shrink: Share = 0.2,
    noise: From0 = 0.1,
    seed: Seed,
):
    """L = KL(pi_teacher || pi_theta)_R from theta = (1 - shrink) theta_teacher + shrink * noise * N.

    The teacher is where `first`, another trained method, ends with its defaults and `first_options`. N is
    Xavier-uniform for matrices and 0 for vectors, as in their code, whose `noise` is 0.1; their shrinking
    goes up to 0.8 (M) with far more text than a few retain facts: 0.2, the rate and the steps are ours, and
    that KL is taken at labelled tokens alone. Its point is robustness to relearning. In memory beside the
    model: the touched weights once more.
    """
    import torch

    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import averaged, kl, log_probabilities

    method = METHODS[first]
    inputs.check(method.needs, check_model=False)
    for _ in method.walk(inputs, Stops(first), **method.options_from(first_options or {})):
        pass
    teacher, generator = Teacher(inputs), torch.Generator().manual_seed(seed)
    for parameter in inputs.touched.values():
        parameter.data.mul_(1 - shrink)
        if parameter.dim() > 1:
            drawn = torch.nn.init.xavier_uniform_(torch.empty(parameter.shape), generator=generator)
            parameter.data.add_(drawn.to(parameter), alpha=shrink * noise)

    def loss(_forget, retain):
        here, counts = log_probabilities(inputs.model, retain)
        return averaged(kl(teacher.logits(retain).log_softmax(-1), here), counts)

    return loss
