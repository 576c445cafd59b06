"""Control of a layer selection: the true gradient on as many coordinates, drawn from everywhere."""

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Seed, Texts
from unlearnkit.unlearning.methods.first_epoch import first_epoch


@line(title="random coordinates", family="control", needs=("ledger",), reads=("first epoch",))
def random_subset(inputs, *, like: str | Texts = "embedding", seed: Seed = 0):
    """first_epoch on random coordinates, as many as the layers `like` have, at the full length."""
    import torch

    from unlearnkit.layers import select
    from unlearnkit.unlearning.originals import rescaled

    sizes = inputs.ledger.parameter_sizes()
    chosen = {slot.parameter for slot in select(inputs.ledger.tags, like)}
    share = sum(sizes[p] for p in chosen) / sum(sizes.values())

    def masked():
        generator = torch.Generator().manual_seed(seed)
        for name, gradient in first_epoch(inputs):
            drawn = torch.rand(gradient.shape, generator=generator) < share
            yield name, gradient.mul_(drawn.to(gradient.device))

    return rescaled(inputs, masked, "randomly masked", like=first_epoch(inputs))
