"""Float32 copies that an optimizer moves, where weights of fewer bits would round its steps away."""

from collections.abc import Sequence

import torch


class Masters:
    """What an optimizer moves is a weight's copy in float32, or the weight itself where it is of that kind.

    At a rate of 1e-5 AdamW's step is below half of bfloat16's last place for most weights: they would stay as
    they are. 4 bytes a weight more in memory, and none where all are float32.
    """

    def __init__(self, weights: Sequence[torch.nn.Parameter]):
        self.weights = list(weights)
        self.factors = [
            w if w.dtype == torch.float32 else torch.nn.Parameter(w.detach().float()) for w in self.weights
        ]

    def _copies(self) -> list[tuple[torch.nn.Parameter, torch.nn.Parameter]]:
        return [(w, f) for w, f in zip(self.weights, self.factors, strict=True) if w is not f]

    def take_gradients(self) -> None:
        """Hand the weights' gradients to their copies, and leave the weights without."""
        for weight, copy in self._copies():
            copy.grad = None if weight.grad is None else weight.grad.to(copy.dtype)
            weight.grad = None

    @torch.no_grad()
    def merge(self) -> None:
        """Round the copies into the weights."""
        for weight, copy in self._copies():
            weight.copy_(copy)
