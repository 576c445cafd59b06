"""LoRA (Hu et al. 2022) without adapters: every touched matrix is W_0 + left @ right, merged at each step."""

import math

import torch

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.inputs import Inputs


class LowRank:
    """The factors of the touched matrices' change; what is no matrix (norms, biases) stays as it is.

    A factor's gradient follows from that of W: dL/dleft = G right^T and dL/dright = left^T G. As in peft at
    its default (alpha = rank), `right` begins uniform within 1/sqrt(columns), `left` at zero, and the product
    is not scaled. GPT-2 keeps its matrices transposed, so that there `left` is on the side of the inputs.
    Works for tied matrices and embeddings too. It keeps W_0 in memory and makes dense gradients on the way:
    what is small is the optimizer's state, and the rank of the change.
    """

    def __init__(self, inputs: Inputs, rank: int, seed: int):
        self.weights = [p for p in inputs.touched.values() if p.dim() == 2]
        if not self.weights:
            raise MethodError(
                f"method {inputs.method!r}: layers {inputs.layers!r} have no matrix that lora= could change; "
                "name other layers, or leave it out"
            )
        self._start = [w.detach().clone() for w in self.weights]
        generator = torch.Generator().manual_seed(seed)
        self._pairs = []
        for weight in self.weights:
            rows, columns = weight.shape
            right = (2 * torch.rand(rank, columns, generator=generator) - 1) / math.sqrt(columns)
            factors = (torch.zeros(rows, rank), right)
            self._pairs.append(tuple(torch.nn.Parameter(f.to(weight)) for f in factors))

    @property
    def factors(self) -> list[torch.nn.Parameter]:
        """What an optimizer moves."""
        return [factor for pair in self._pairs for factor in pair]

    def take_gradients(self) -> None:
        """Turn the weights' gradients into the factors', and leave the weights without."""
        for weight, (left, right) in zip(self.weights, self._pairs, strict=True):
            if weight.grad is not None:
                left.grad, right.grad = weight.grad @ right.detach().T, left.detach().T @ weight.grad
            weight.grad = None

    @torch.no_grad()
    def merge(self) -> None:
        """Put W_0 + left @ right into the weights."""
        for weight, start, (left, right) in zip(self.weights, self._start, self._pairs, strict=True):
            torch.addmm(start, left, right, out=weight.data)
