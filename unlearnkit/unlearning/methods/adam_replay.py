"""AdamW's updates added back, not its gradients: a step moved the weights by rate * m / (sqrt(v) + eps)."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Epochs

if TYPE_CHECKING:
    import torch

    from unlearnkit.layers import Layers
    from unlearnkit.ledger import GradientLedger

EPS = 1e-8  # torch's default, which `training.fine_tune` leaves as it is


SAID = {"needs": ("ledger",), "reads": ("moments",), "follows": "adamw"}


@line(title="AdamW's updates", family="replay", source="ours", **SAID)
def adam_replay(inputs, *, epochs: Epochs = "all"):
    """sum over epochs of rate_e * (sum over the request of epoch e's gradients) / (sqrt(v_e) + EPS).

    v_e is the bias-corrected second moment at the epoch's end, rate_e the mean learning rate of its steps;
    `epochs` are "all" or numbers from 1. Of a single step, alpha = 1 takes back the request's part. What is
    left out: the momentum, and how v moved within an epoch.
    """
    return replayed(inputs.ledger, inputs.request, epochs, inputs.layers)


def replayed(
    book: "GradientLedger", ids: Sequence[str], epochs: Sequence[int] | str, layers: "Layers"
) -> "Iterator[tuple[str, torch.Tensor]]":
    """`adam_replay`'s direction for these ids: (parameter name, dense tensor), one at a time, in model order.

    LedgerError where the ledger keeps no second moments.
    """
    by_epoch = groupby(book.keys(ids, epochs), key=itemgetter(1))
    first, *others = [_in_epoch(book, [i for i, _ in keys], epoch, layers) for epoch, keys in by_epoch]
    for name, total in first:
        for other in others:  # one epoch at a time: as many dense tensors at once would be large
            total += next(other)[1]
        yield name, total


def _in_epoch(
    book: "GradientLedger", ids: Sequence[str], epoch: int, layers: "Layers"
) -> "Iterator[tuple[str, torch.Tensor]]":
    rate, moments = book.mean_rate(epoch), book.second_moment(epoch, layers)
    for (name, gradient), (_, moment) in zip(book.stream(ids, (epoch,), layers), moments, strict=True):
        yield name, gradient.mul_(rate).div_(moment.sqrt_().add_(EPS))
