"""A loss brought down over the touched weights, stop by stop: the walk of every trained method."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from numbers import Integral

import torch

from unlearnkit.batching import Batch, batches
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError, LayerError, MethodError
from unlearnkit.layers import select, tags
from unlearnkit.progress import shown
from unlearnkit.unlearning.inputs import Inputs
from unlearnkit.unlearning.lowrank import LowRank
from unlearnkit.unlearning.masters import Masters
from unlearnkit.unlearning.originals import require_finite_weights

Loss = Callable[[Batch, Batch | None], torch.Tensor]
Parts = tuple[Sequence[Example] | None, Sequence[Example] | None]
OPTIMIZERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@dataclass(frozen=True)
class Descent:
    """How to go down. Raises MethodError or LayerError at once for what it cannot do.

    steps       the last step, or all to stop at, from 1
    optimizer   "adamw" (torch's defaults, no weight decay) or "sgd" (plain), at the constant rate `lr`
    batch_size  examples of either kind a step; None is all of them
    loss_on     which tokens count: "answer" or "text"
    lora        the rank of the change of every matrix (`lowrank`); 0 moves the weights themselves
    until       asked at every stop; the first at which it says yes is the last
    """

    inputs: Inputs
    lr: float
    steps: int | Sequence[int]
    optimizer: str = "adamw"
    batch_size: int | None = 8
    loss_on: str = "answer"
    seed: int = 0
    lora: int = 0
    until: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        require_whole(self.inputs)

    @property
    def stops(self) -> list[int]:
        return sorted({self.steps} if isinstance(self.steps, Integral) else set(self.steps))

    def walk(self, loss: Loss, parts: Parts | None = None) -> Iterator[dict]:
        """Yields the step and the loss before it at every stop. `.grad` is left empty.

        `parts` are what batches are drawn from, if not from the forget set and `retain`.
        """
        parts = parts or (self.inputs.forget, self.inputs.retain)
        touched = self.inputs.touched.values()
        moved = LowRank(self.inputs, self.lora, self.seed) if self.lora else Masters(touched)
        optimizer = OPTIMIZERS[self.optimizer](moved.factors, lr=self.lr, weight_decay=0.0)
        for weight in moved.weights:
            weight.grad = None
        drawn = zip(*map(self._batches, parts), strict=True)
        for step, batch in enumerate(shown(drawn, self.inputs.method, self.stops[-1]), start=1):
            value = self._backward(loss, batch, moved.weights, step)
            moved.take_gradients()
            optimizer.step()
            optimizer.zero_grad()
            moved.merge()
            if step in self.stops:
                require_finite_weights(self.inputs.touched, f"step {step}")
                told = {"stopped": bool(self.until())} if self.until else {}
                yield {"step": step, "loss": value, **told}
                if told.get("stopped"):
                    return
            if step == self.stops[-1]:
                return

    def _backward(self, loss: Loss, batch, weights: list[torch.nn.Parameter], step: int) -> float:
        """Fill `.grad` of these weights; returns the loss."""
        name = self.inputs.method
        with torch.enable_grad():
            value = loss(*batch)
            if not value.isfinite():
                raise DivergenceError(
                    f"{name!r} has a loss of {value.item()} at step {step}; use a smaller lr"
                )
            if value.requires_grad:
                value.backward(inputs=weights)
        if all(weight.grad is None for weight in weights):
            raise MethodError(
                f"method {name!r}: no weight of layers {self.inputs.layers!r} has a part in its loss; name "
                "other layers"
            )
        return value.item()

    def _batches(self, examples: Sequence[Example] | None) -> Iterator[Batch | None]:
        """Batches without end, each pass in another order; None without end where there are no examples."""
        if not examples:
            yield from repeat(None)
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            order = torch.randperm(len(examples), generator=generator).tolist()
            shuffled = [examples[i] for i in order]
            size = self.batch_size or len(shuffled)
            yield from batches(self.inputs.tokenizer, shuffled, size, self.loss_on)


def require_whole(inputs: Inputs) -> None:
    """LayerError for one role of a tied matrix: the backward pass cannot move it without the other."""
    slots = tags(inputs.model)
    chosen = select(slots, inputs.layers)
    for slot in slots:
        if slot.parameter in inputs.touched and slot not in chosen:
            raise LayerError(
                f"layers {inputs.layers!r}: {slot.parameter!r} is tied, and method {inputs.method!r} can "
                "only move it as a whole: name 'embedding'"
            )
