"""Exact gradient algebra on factors: dense gradients and dot products, without one from the other.

For a linear site G_i = sum_t d_t x_t^T over example i's tokens, so
<G_i, G_j> = sum_{t,s} (d_t . d_s)(x_t . x_s): two small Gram matrices instead of two dense gradients.
A tied token matrix has two sites, rows of the input embedding and factors of the output head, whose cross
terms count too: <rows added at ids, d^T x> = sum_{t,s} (d_t . x_s) d_s[ids_t].
"""

from dataclasses import dataclass

import torch

from unlearnkit.devices import CPU
from unlearnkit.ledger.sites import Site


@dataclass
class Factors:
    """What is stored of some examples at one site, decoded.

    Factored sites have x (R, in) and d (R, out); embeddings ids (R,) and d (R, width); `owner` (R,) says to
    which example each row belongs. Long texts have `dense` (n, in * out) instead; reduced vectors (norms,
    biases) are (n, width). `n` counts the examples.
    """

    site: Site
    n: int
    owner: torch.Tensor | None = None
    x: torch.Tensor | None = None
    d: torch.Tensor | None = None
    ids: torch.Tensor | None = None
    dense: torch.Tensor | None = None
    reduced_weight: torch.Tensor | None = None
    reduced_bias: torch.Tensor | None = None

    def shape(self) -> tuple[int, int]:
        """Shape of the weight as its module stores it."""
        s = self.site
        return (s.width_out, s.width_in) if s.kind == "linear" else (s.width_in, s.width_out)

    def add_weight(self, into: torch.Tensor) -> None:
        """into += the summed weight gradient of all these examples."""
        if self.dense is not None:
            into += self.dense.sum(0).view_as(into)
        elif self.site.kind == "embedding":
            into.index_add_(0, self.ids, self.d)
        elif self.site.kind == "norm":
            into += self.reduced_weight.sum(0)
        elif self.site.kind == "linear":
            into.addmm_(self.d.T, self.x)
        else:
            into.addmm_(self.x.T, self.d)

    def add_bias(self, into: torch.Tensor) -> None:
        """into += the summed bias gradient."""
        into += (self.d if self.reduced_bias is None else self.reduced_bias).sum(0)

    def bias_vectors(self) -> torch.Tensor:
        """(n, width_out): each example's bias gradient."""
        if self.reduced_bias is not None:
            return self.reduced_bias
        return self.d.new_zeros(self.n, self.d.shape[1]).index_add_(0, self.owner, self.d)

    def weight_matrices(self) -> torch.Tensor:
        """(n, numel): each example's dense weight gradient. Only where one side is stored dense."""
        if self.dense is not None:
            return self.dense
        out = self.d.new_zeros(self.n, self.site.width_in * self.site.width_out)
        for k in range(self.n):
            rows = self.owner == k
            d, x = self.d[rows], self.x[rows]
            out[k] = (d.T @ x if self.site.kind == "linear" else x.T @ d).flatten()
        return out


def gram(rows: torch.Tensor) -> torch.Tensor:
    """rows @ rows.T of a matrix. On the processor by way of numpy, which sees that both factors are one and
    spares half of the products."""
    if rows.device.type != CPU:
        return rows @ rows.T
    values = rows.numpy()
    return torch.from_numpy(values @ values.T)


def _by_owner(values: torch.Tensor, a: Factors, b: Factors) -> torch.Tensor:
    """Sum a (R_a, R_b) matrix over the rows of each pair of examples: (n_a, n_b)."""
    rows = values.new_zeros(a.n, values.shape[1]).index_add_(0, a.owner, values)
    return values.new_zeros(a.n, b.n).index_add_(1, b.owner, rows)


def weight_dot(a: Factors, b: Factors) -> torch.Tensor:
    """(n_a, n_b) dot products of weight gradients, of one site or of the two roles of a tied matrix."""
    kinds = (a.site.kind, b.site.kind)
    if kinds == ("norm", "norm"):
        return a.reduced_weight @ b.reduced_weight.T
    if kinds == ("embedding", "embedding"):
        return _by_owner((a.ids[:, None] == b.ids) * (a.d @ b.d.T), a, b)
    if kinds[1] == "embedding":
        return weight_dot(b, a).T
    if kinds[0] == "embedding":
        if b.dense is not None:
            rows = b.dense.view(b.n, *b.shape())[:, a.ids]  # (n_b, R_a, width)
            return a.d.new_zeros(a.n, b.n).index_add_(0, a.owner, torch.einsum("brw,rw->rb", rows, a.d))
        return _by_owner((a.d @ b.x.T) * b.d[:, a.ids].T, a, b)
    if a.dense is not None or b.dense is not None:
        return a.weight_matrices() @ b.weight_matrices().T
    return _by_owner((a.d @ b.d.T) * (a.x @ b.x.T), a, b)
