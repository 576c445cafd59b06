"""The paper's update: the forget set's recorded first-epoch gradients, added back."""

from unlearnkit.unlearning.kinds import line


@line(title="first epoch", family="paper", source="Zagardo 2024", needs=("ledger",), reads=("first epoch",))
def first_epoch(inputs):
    """sum over the request of the gradients of each fact's first epoch."""
    return inputs.ledger.stream(inputs.request, "first", inputs.layers)
