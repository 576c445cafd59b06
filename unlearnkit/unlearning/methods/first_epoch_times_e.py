"""First-epoch gradients standing in for every epoch's (after Thudi et al. 2022, with recorded gradients)."""

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.methods.first_epoch import first_epoch


@line(
    title="first epoch × E",
    family="replay",
    source="after Thudi et al. 2022",
    needs=("ledger",),
    reads=("first epoch",),
)
def first_epoch_times_E(inputs):
    """E times the first-epoch sum, with E the number of epochs that the request was recorded in, per fact."""
    epochs = len(inputs.ledger.keys(inputs.request, "all")) / len(inputs.request)
    return ((name, gradient.mul_(epochs)) for name, gradient in first_epoch(inputs))
