"""Float32 copies that an optimizer moves, where weights of fewer bits would round its steps away."""

from collections.abc import Sequence

import torch


def is_narrow(weight: torch.Tensor) -> bool:
    """Whether it has fewer bits than float32."""
    return torch.finfo(weight.dtype).bits < 32


class Masters:
    """What an optimizer moves is the float32 copy of a weight of fewer bits, or else the weight itself.

    At a rate of 1e-5 AdamW's step is below half of bfloat16's last place for most weights: they would stay as
    they are. 4 bytes more in memory for each such weight.
    """

    def __init__(self, weights: Sequence[torch.nn.Parameter]):
        self.weights = list(weights)
        self.factors = [torch.nn.Parameter(w.detach().float()) if is_narrow(w) else w for w in self.weights]
        self._copies = [(w, f) for w, f in zip(self.weights, self.factors, strict=True) if w is not f]

    def take_gradients(self) -> None:
        """Hand the weights' gradients to their copies, and leave the weights without."""
        for weight, copy in self._copies:
            copy.grad = None if weight.grad is None else weight.grad.to(copy.dtype)
            weight.grad = None

    @torch.no_grad()
    def merge(self) -> None:
        """Round the copies into the weights."""
        for weight, copy in self._copies:
            weight.copy_(copy)
