"""Model state arithmetic: what the forget set alone teaches an earlier state of the model, taken away."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Count, Whole

if TYPE_CHECKING:
    import torch

NEEDS = ("checkpoints", "examples", "tokenizer")


@line(
    title="model state arithmetic", family="weights", source="2506.20941", needs=NEEDS, wants={"b": "retain"}
)
def msa(
    inputs, *, epoch: Whole = 0, epochs: Count | None = None, b: float = 0.0
) -> "Iterator[tuple[str, torch.Tensor]]":
    """-(theta_1 - theta_k) + b (theta_2 - theta_k): copies of theta_k trained on F, and on what is retained.

    alpha is the paper's a, and alpha * b its b; b = 0 reads no retain text. k is the checkpoint `epoch`
    (theta_0, by default); both copies learn by the recorded recipe, for `epochs` (its own number by default).
    theta_2 learns the `retain` examples. Formula from the repository (R); the defaults are ours.
    """
    from unlearnkit.unlearning.past import history_of, learnt

    recipe = history_of(inputs).recipe
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    forget = learnt(inputs, inputs.forget, recipe, epoch)
    kept = learnt(inputs, inputs.retain, recipe, epoch) if b else ((n, 0.0) for n in inputs.touched)
    return ((name, b * more - less) for (name, less), (_, more) in zip(forget, kept, strict=True))
