"""`Delta`: the change that a result made, to be added to others, scaled, and taken back.

Of several requests, one after the other, one is withdrawn by adding its negative: the others' changes stay,
to the rounding of one addition each. Bit for bit they are what the others' deltas make when these alone are
added anew, from the start that `apply_to` gave. What a later request added it added where it stood: with
gradients taken anew, and not from a ledger, that is not what it would have added without the one before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import nn

from unlearnkit.errors import MethodError
from unlearnkit.ledger import identity
from unlearnkit.unlearning.originals import Originals, Stored, add


@dataclass(frozen=True)
class Delta:
    """A sum of stored changes, each times a factor; the arithmetic reads and writes no tensor."""

    terms: tuple[tuple[Stored, float], ...]

    @classmethod
    def since(cls, originals: Originals) -> "Delta":
        """Where the touched weights stand minus where they stood, a tensor at a time, in float32."""

        def change() -> Iterator[tuple[str, torch.Tensor]]:
            with safe_open(originals.path, "pt") as file:
                for name, parameter in originals.touched.items():
                    yield (
                        name,
                        parameter.detach().float() - file.get_tensor(name).to(parameter.device).float(),
                    )

        return cls(((Stored(change()), 1.0),))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters that it changes, by name."""
        return {name: shape for stored, _ in self.terms for name, shape in stored.shapes.items()}

    def __add__(self, other: "Delta") -> "Delta":
        own, theirs = self.shapes, other.shapes
        for name in own.keys() & theirs.keys():
            _require_shape(name, own[name], theirs[name])
        return Delta(self.terms + other.terms)

    def __mul__(self, factor: float) -> "Delta":
        return Delta(tuple((stored, factor * by) for stored, by in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Delta":
        return -1.0 * self

    def apply_to(self, model: nn.Module) -> Originals:
        """Add it to the model's weights; the answer's `restore()` puts these back, bit for bit.

        MethodError for a parameter that the model lacks or has in another shape; DivergenceError, with the
        weights restored, where one is no longer finite.
        """
        named, touched = dict(model.named_parameters()), {}
        for name, shape in self.shapes.items():
            if name not in named:
                raise MethodError(f"the delta changes {name!r}, which the model does not have")
            _require_shape(name, shape, tuple(named[name].shape))
            touched[name] = named[name]
        before, originals = identity.place(model), Originals(touched)
        try:
            for stored, factor in self.terms:
                add(touched, stored, factor)
        except BaseException:
            originals.restore()
            raise
        identity.note_change(model, before)
        return originals


def _require_shape(name: str, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    if one != other:
        raise MethodError(f"the delta's {name!r} has shape {one}, and not {other}: it is of another model")
