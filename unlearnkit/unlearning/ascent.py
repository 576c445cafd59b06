"""Gradient ascent with gradients taken afresh at every step (Jang et al. 2023, no stopping rule)."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from unlearnkit.ledger import record
from unlearnkit.unlearning.core import Direction, Inputs, Method


@dataclass(frozen=True)
class GradientAscent:
    steps: int = 1  # how many times the gradient is recomputed and added
    loss_on: str = "answer"  # which tokens the loss counts
    divisor: float = 1.0  # l_i / divisor: the training batch size makes alpha comparable with replay
    batch_size: int = 8  # examples a forward pass; changes nothing but speed


def _gradient_ascent(inputs: Inputs, options: GradientAscent) -> Direction:
    """The forget set's gradient where the model stands now, through the ledger's own capture."""
    wanted = set(inputs.request)
    forget = [e for e in inputs.examples if e.id in wanted]
    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-"))
    try:
        book = record(
            inputs.model,
            inputs.tokenizer,
            forget,
            folder / "ledger",
            loss_on=options.loss_on,
            divisor=options.divisor,
            batch_size=options.batch_size,
        )
        yield from book.stream([e.id for e in forget], (1,), inputs.layers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


METHODS = (
    Method(
        "gradient_ascent",
        "ordinary gradient ascent, recomputed at every step",
        _gradient_ascent,
        needs=("examples", "tokenizer"),
        options=GradientAscent,
        fresh=True,
    ),
)
