"""The other reading of the paper's words: the recorded gradients of every epoch, added back."""

from unlearnkit.unlearning.kinds import line


@line(title="all epochs", family="replay", source="Zagardo 2024, the other reading", needs=("ledger",))
def all_epochs(inputs):
    """sum over the request and over epochs; with plain SGD alpha = lr takes back all its steps."""
    return inputs.ledger.stream(inputs.request, "all", inputs.layers)
