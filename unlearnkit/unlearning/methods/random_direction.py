"""Control: a step of the same length that knows nothing of the forget set."""

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Seed
from unlearnkit.unlearning.methods.first_epoch import first_epoch


@line(title="random direction", family="control", needs=("ledger",), reads=("first epoch",))
def random_direction(inputs, *, seed: Seed = 0):
    """Gaussian noise, in every parameter as long as the request's first-epoch gradient there."""
    import torch

    from unlearnkit.unlearning.originals import require_length

    generator, total = torch.Generator().manual_seed(seed), 0.0
    for name, gradient in first_epoch(inputs):
        size = gradient.norm()
        total += size.item()
        drawn = torch.randn(gradient.shape, generator=generator).to(gradient)
        yield name, drawn.mul_(size / drawn.norm())
    require_length(total, inputs, "request's first-epoch")
