"""Replay without the directions that everybody's activations and gradients share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import Epochs, Whole

if TYPE_CHECKING:
    import torch

RANK = 1e-6  # of the largest eigenvalue: below, an eigenvector is rounding's


@line(
    title="without principal components",
    family="replay",
    source="after 2606.17168",
    needs=("ledger",),
    reads=("others", "factors"),
    version=2,
)
def repselect(
    inputs, *, epochs: Epochs = "all", components: Whole = 8, curvature: Epochs = "all"
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(I - V V^T) (sum over the request and `epochs` of its recorded gradients) (I - U U^T), site by site.

    U holds the `components` leading principal components of what enters a linear map, V those of gradients at
    its output, both about 0, over the others' records in the epochs `curvature`. Sides without a whole
    moment (vocabulary, biases, norms) are left as they are. Theirs (R) elicits what is to be forgotten by
    LoRA first, moves the MLP's projections only, takes 512 components of the accumulated gradient itself, of
    either set, and shrinks softly along them.
    """
    from unlearnkit.unlearning.past import shaped_by_others

    return shaped_by_others(inputs, epochs, curvature, lambda m: without_leading(m, components))


def without_leading(moment: "torch.Tensor", components: int) -> "torch.Tensor":
    """I - V V^T, with V the leading eigenvectors of a moment, as many as it has; ones for a diagonal."""
    import torch

    if moment.dim() == 1:
        return torch.ones_like(moment)
    values, vectors = torch.linalg.eigh(moment)
    count = min(components, int((values > RANK * values[-1]).sum()))  # they come in ascending order
    vectors = vectors[:, len(values) - count :]
    return torch.eye(len(moment)).to(moment) - vectors @ vectors.T
