"""The model as it was, or as it is when taught something, beside the one that moves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from unlearnkit.batching import Batch
from unlearnkit.data import Example
from unlearnkit.errors import MethodError
from unlearnkit.forward import target_logits
from unlearnkit.unlearning.descent import Descent
from unlearnkit.unlearning.inputs import Inputs
from unlearnkit.unlearning.terms import mean_nll


class Teacher:
    """The model as it stands when this is made. In memory: a copy of the touched weights."""

    def __init__(self, inputs: Inputs):
        self._model, self._touched = inputs.model, inputs.touched
        self._copies = {name: p.detach().clone() for name, p in self._touched.items()}

    @contextmanager
    def standing(self) -> Iterator[PreTrainedModel]:
        """The model is the teacher inside; no gradients. Pointers change hands, no weight is copied."""
        self._swap()
        try:
            with torch.no_grad():
                yield self._model
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._touched.items():
            parameter.data, self._copies[name] = self._copies[name], parameter.data

    def restore(self) -> None:
        """Bring the model back here, in place."""
        for name, parameter in self._touched.items():
            parameter.data.copy_(self._copies[name])

    def logits(self, batch: Batch) -> torch.Tensor:
        """Its logits (N, V) at every position of the batch that predicts a target."""
        with self.standing() as model:
            return target_logits(model, batch)[0]


def taught(
    inputs: Inputs,
    examples: Sequence[Example],
    *,
    lr: float,
    steps: int,
    batch_size: int | None,
    loss_on: str,
    seed: int,
    start: PreTrainedModel | None = None,
) -> Teacher:
    """A model that learned these examples by AdamW, on the touched layers only; the present one is as before.

    It begins where the model stands, or at the weights of `start`. MethodError for a `start` of other shapes.
    Meanwhile in memory: the touched weights twice more, their gradients, and AdamW's two moments of them.
    """
    before = Teacher(inputs)
    if start is not None:
        _stand_at(start, inputs)
    descent = Descent(inputs, lr, steps, batch_size=batch_size, loss_on=loss_on, seed=seed)
    for _ in descent.walk(lambda batch, _: mean_nll(inputs.model, batch), (examples, None)):
        pass
    after = Teacher(inputs)
    before.restore()
    return after


def _stand_at(start: PreTrainedModel, inputs: Inputs) -> None:
    there = dict(start.named_parameters())
    for name, parameter in inputs.touched.items():
        if name not in there or there[name].shape != parameter.shape:
            raise MethodError(f"method {inputs.method!r}: reference= is another model: its {name!r} differs")
        parameter.data.copy_(there[name].data)
