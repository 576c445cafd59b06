"""Gradient ascent with gradients taken afresh at every step; `jang` has an optimizer and a stopping rule."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from unlearnkit.unlearning.kinds import free


@free(
    title="gradient ascent",
    family="ascent",
    source="Jang et al. 2023",
    needs=("examples", "tokenizer"),
    stops=("alpha", "norm", "norms"),
)
def gradient_ascent(
    inputs, stops, *, steps: int = 1, loss_on: str = "answer", divisor: float = 1.0, batch_size: int = 8
) -> Iterator[dict]:
    """`steps` steps to each stop, each along the gradient where the model then stands.

    alpha multiplies each step's gradient; a norm is what the steps' equal lengths add up to. The loss is
    l_i / divisor: the training batch size makes alpha comparable with replay. batch_size changes speed only.
    """
    from unlearnkit.unlearning.originals import Stored, add

    total = 0.0
    for leg in stops.legs():
        for _ in range(steps):
            direction = _gradient(inputs, loss_on=loss_on, divisor=divisor, batch_size=batch_size)
            if stops.by == "norm":  # gone through twice, and to take it twice would cost a backward pass
                direction = Stored(direction)
            alpha = stops.unit(direction) * (leg / steps if stops.by == "norm" else leg)
            add(inputs.touched, direction, alpha)
            total += alpha
        yield {"alpha": total}


def _gradient(inputs, **options) -> Iterator[tuple]:
    """The forget set's gradient, through the ledger's own capture."""
    from unlearnkit.ledger import record

    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-"))
    try:
        book = record(inputs.model, inputs.tokenizer, inputs.forget, folder / "ledger", **options)
        yield from book.stream([e.id for e in inputs.forget], (1,), inputs.layers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
