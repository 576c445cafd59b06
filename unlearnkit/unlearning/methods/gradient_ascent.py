"""Gradient ascent with gradients taken afresh at every step; `jang` has an optimizer and a stopping rule."""

from collections.abc import Iterator

from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.limits import Above0, Count, LossOn


@free(
    title="gradient ascent",
    family="ascent",
    source="Jang et al. 2023",
    needs=("examples", "tokenizer"),
    stops=("alpha", "norm", "norms"),
)
def gradient_ascent(
    inputs,
    stops,
    *,
    steps: Count = 1,
    loss_on: LossOn = "answer",
    divisor: Above0 = 1.0,
    batch_size: Count = 8,
) -> Iterator[dict]:
    """`steps` steps to each stop, each along the gradient where the model then stands.

    alpha multiplies each step's gradient; a norm is what the steps' equal lengths add up to. The loss is
    l_i / divisor: the training batch size makes alpha comparable with replay. batch_size changes speed only.
    """
    from unlearnkit.unlearning.fresh import gradient
    from unlearnkit.unlearning.originals import Stored, add

    total, options = 0.0, {"loss_on": loss_on, "divisor": divisor, "batch_size": batch_size}
    for leg in stops.legs():
        for _ in range(steps):
            direction = gradient(inputs.model, inputs.tokenizer, inputs.forget, inputs.layers, **options)
            if stops.by == "norm":  # gone through twice, and to take it twice would cost a backward pass
                direction = Stored(direction)
            alpha = stops.unit(direction) * (leg / steps if stops.by == "norm" else leg)
            add(inputs.touched, direction, alpha)
            total += alpha
        yield {"alpha": total}
