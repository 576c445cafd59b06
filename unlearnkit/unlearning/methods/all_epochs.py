"""The other reading of the paper's words: the recorded gradients of every epoch, added back."""

from unlearnkit.unlearning.kinds import line


@line(title="all epochs", family="replay", source="Zagardo 2024, the other reading", needs=("ledger",))
def all_epochs(inputs):
    """sum over the request and over epochs; alpha = lr takes back all steps of SGD at a constant rate."""
    return inputs.ledger.stream(inputs.request, "all", inputs.layers)
