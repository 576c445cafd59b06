"""Recorded gradients added back: the family of updates that the paper's words allow (paper.md, section 3)."""

from dataclasses import dataclass

from unlearnkit.unlearning.core import Direction, Inputs, Method, NoOptions


@dataclass(frozen=True)
class SingleEpoch:
    epoch: int = 1  # which epoch's gradients, counted from 1


def _first_epoch(inputs: Inputs, _options: NoOptions) -> Direction:
    return inputs.ledger.stream(inputs.request, (1,), inputs.layers)


def _all_epochs(inputs: Inputs, _options: NoOptions) -> Direction:
    return inputs.ledger.stream(inputs.request, "all", inputs.layers)


def _single_epoch(inputs: Inputs, options: SingleEpoch) -> Direction:
    return inputs.ledger.stream(inputs.request, (options.epoch,), inputs.layers)


def _first_epoch_times_e(inputs: Inputs, options: NoOptions) -> Direction:
    epochs = len(inputs.ledger.epochs)
    return ((name, gradient.mul_(epochs)) for name, gradient in _first_epoch(inputs, options))


FIRST_EPOCH = Method("first_epoch", "first-epoch gradients of the forget set (Zagardo 2024)", _first_epoch)
METHODS = (
    FIRST_EPOCH,
    Method("all_epochs", "the gradients of every epoch", _all_epochs),
    Method("single_epoch", "the gradients of one chosen epoch", _single_epoch, options=SingleEpoch),
    Method(
        "first_epoch_times_E",
        "first-epoch gradients times the number of epochs (after Thudi et al. 2022, with recorded gradients)",
        _first_epoch_times_e,
    ),
)
