"""The recorded gradients of one chosen epoch, added back: is there something about the first?"""

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Count


@line(title="one epoch", family="replay", source="Zagardo 2024, any epoch", needs=("ledger",))
def single_epoch(inputs, *, epoch: Count = 1):
    """sum over the request of the gradients of `epoch`, counted from 1."""
    return inputs.ledger.stream(inputs.request, (epoch,), inputs.layers)
