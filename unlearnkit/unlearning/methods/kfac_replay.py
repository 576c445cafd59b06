"""Replay through a K-FAC preconditioner that is made of what the ledger keeps of the others."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Epochs, From0

if TYPE_CHECKING:
    import torch


@line(
    title="K-FAC replay",
    family="replay",
    source="after K-FADE, 2602.10568",
    needs=("ledger",),
    reads=("others", "factors"),
    version=2,
)
def kfac_replay(
    inputs, *, epochs: Epochs = "all", damping: From0 = 0.1, curvature: Epochs = "all"
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(G + g I)^-1 (sum over the request and `epochs` of its recorded gradients) (A + a I)^-1, site by site.

    A and G as in `ledger.kronecker`, of the other examples' records in the epochs `curvature`; a and g are
    `damping` times their mean eigenvalue (0.1 as Grosse et al. 2023 for EK-FAC, R). True labels rather than
    sampled ones: an empirical Fisher matrix. K-FADE was read as an abstract; on stored factors it is ours.
    """
    from unlearnkit.unlearning.past import shaped_by_others

    return shaped_by_others(inputs, epochs, curvature, lambda m: inverse(m, damping))


def inverse(moment: "torch.Tensor", damping: float) -> "torch.Tensor":
    """(moment + damping * its mean eigenvalue)^-1, of a matrix or a diagonal; ones where nothing is known."""
    import torch

    diagonal = moment if moment.dim() == 1 else moment.diagonal()
    size = diagonal.mean()
    if size == 0:
        return torch.ones_like(diagonal)
    if moment.dim() == 1:
        return (moment + damping * size).reciprocal()
    damped = moment + damping * size * torch.eye(len(moment)).to(moment)
    return torch.cholesky_inverse(torch.linalg.cholesky(damped))  # symmetric: in half the time
