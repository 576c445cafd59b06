"""Controls: what a claim about the forget set's own gradients must beat.

Each control streams a direction of the same length as the first-epoch direction of the request, so that one
alpha means one step length in every arm.
"""

from dataclasses import dataclass

import torch

from unlearnkit.errors import MethodError
from unlearnkit.layers import select
from unlearnkit.unlearning.core import Direction, Inputs, Method, NoOptions, length


@dataclass(frozen=True)
class Seeded:
    seed: int = 0  # of the random numbers


@dataclass(frozen=True)
class WrongPerson:
    others: tuple[str, ...] = ()  # ids of somebody else's examples


@dataclass(frozen=True)
class RandomSubset:
    like: str = "embedding"  # layers whose number of parameters the random subset has
    seed: int = 0


def _reference(inputs: Inputs) -> Direction:
    return inputs.ledger.stream(inputs.request, (1,), inputs.layers)


def _nonzero(size: float, method: str, whose: str, inputs: Inputs) -> float:
    """The length of a direction that others are compared with; MethodError where there is none."""
    if size == 0:
        raise MethodError(
            f"method {method!r}: the {whose} first-epoch gradient is zero on layers {inputs.layers!r}, so no "
            "length can be matched. Name other layers, or examples that were still learnt in epoch 1"
        )
    return size


def _noop(_inputs: Inputs, _options: NoOptions) -> Direction:
    return iter(())


def _random_direction(inputs: Inputs, options: Seeded) -> Direction:
    """Gaussian noise, in every parameter as long as the true gradient there."""
    generator = torch.Generator().manual_seed(options.seed)
    total = 0.0
    for name, gradient in _reference(inputs):
        size = gradient.norm()
        total += size.item()
        gradient.normal_(generator=generator)
        yield name, gradient.mul_(size / gradient.norm())
    _nonzero(total, "random_direction", "request's", inputs)


def _wrong_person(inputs: Inputs, options: WrongPerson) -> Direction:
    """Somebody else's first-epoch gradients, scaled to the length of the request's."""
    if not options.others:
        raise MethodError("method 'wrong_person' needs others=: ids of examples outside the request")
    if shared := set(options.others) & set(inputs.request):
        raise MethodError(
            f"others= and the request share {sorted(shared)[:5]}: name somebody else's examples"
        )

    def theirs() -> Direction:
        return inputs.ledger.stream(options.others, (1,), inputs.layers)

    size = _nonzero(length(_reference(inputs)), "wrong_person", "request's", inputs)
    scale = size / _nonzero(length(theirs()), "wrong_person", "others='s", inputs)
    return ((name, gradient.mul_(scale)) for name, gradient in theirs())


def _random_subset(inputs: Inputs, options: RandomSubset) -> Direction:
    """The true gradient on random coordinates, as many as the layers `like` have, at the full length."""
    sizes = inputs.ledger.parameter_sizes()
    chosen = {slot.parameter for slot in select(inputs.ledger.tags, options.like)}
    share = sum(sizes[p] for p in chosen) / sum(sizes.values())

    def masked() -> Direction:
        generator = torch.Generator().manual_seed(options.seed)
        for name, gradient in _reference(inputs):
            yield name, gradient.mul_(torch.rand(gradient.shape, generator=generator) < share)

    size = _nonzero(length(_reference(inputs)), "random_subset", "request's", inputs)
    scale = size / _nonzero(length(masked()), "random_subset", "randomly masked", inputs)
    return ((name, gradient.mul_(scale)) for name, gradient in masked())


METHODS = (
    Method("noop", "no change", _noop, needs=()),
    Method(
        "random_direction",
        "a random direction of equal length in every parameter",
        _random_direction,
        options=Seeded,
    ),
    Method("random_subset", "the true gradient on random coordinates", _random_subset, options=RandomSubset),
    Method("wrong_person", "somebody else's gradients, equal length", _wrong_person, options=WrongPerson),
)
