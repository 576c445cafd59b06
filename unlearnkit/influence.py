"""Influence of training examples from the ledger: dot products, TracIn, and curvature along a gradient.

    gradient dot   <g_stored, g_now>: the stored gradient against the model's present one
    TracIn         sum_e lr <g_e(z), g_e(q)> over the recorded epochs (TracInCP, Pruthi et al. 2020)
    curvature      g^T H g with H the Hessian of a fixed reference set's mean loss (Pearlmutter 1994)
    second order   products with a Hessian and a Gauss-Newton matrix, and a solution of the latter's equations

The activation-gradient product, which needs no stored gradient, is `metrics.activation_gradient`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward
from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.errors import LedgerError
from unlearnkit.layers import Layers
from unlearnkit.ledger import GradientLedger, recorded
from unlearnkit.progress import shown

Vectors = Mapping[str, torch.Tensor]  # by parameter name
PAIRED = 8  # examples read at once where only each one's product with itself is wanted


def gradient_dot(
    book: GradientLedger,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    epoch: int = 1,
    layers: Layers = "all",
) -> pd.DataFrame:
    """<g_stored, g_now> for each example (columns id, influence).

    g_stored is the recorded gradient of that epoch, g_now that of the example's own loss in the model as it
    stands, in the same units (both hold the recipe's 1/B).
    """
    recipe = book.recipe
    if "batch_size" not in recipe:
        raise LedgerError(f"ledger {book.store.path} was not recorded by fine_tune: it has no batch size")
    book.require_fits(model)
    units = {"loss_on": recipe["loss_on"], "divisor": recipe["batch_size"]}
    with recorded(model, tokenizer, examples, **units, dtype=book.store.dtype) as now:
        ids = [e.id for e in examples]
        groups = [ids[start : start + PAIRED] for start in range(0, len(ids), PAIRED)]
        dots = [book.dot(group, group, epoch, 1, layers, other=now).diagonal() for group in groups]
    return pd.DataFrame({"id": ids, "influence": torch.cat(dots).tolist()})


def tracin(
    book: GradientLedger,
    ids: Sequence[str],
    queries: Sequence[str],
    layers: Layers = "all",
    epochs: Sequence[int] | None = None,
) -> torch.Tensor:
    """TracInCP scores, shape (len(ids), len(queries)); positive where training on one helped the other.

    Summed over the epochs (default all that are recorded), each with the learning rate at which `ids` were
    trained on; both sides are recorded terms (1/B included).
    """
    chosen = book.epochs if epochs is None else epochs
    return sum(book.rates(ids, e)[:, None] * book.dot(ids, queries, e, e, layers) for e in chosen)


@contextlib.contextmanager
def double_differentiable(model: PreTrainedModel) -> Iterator[None]:
    """Fused attention has no second derivative: switch to the eager one meanwhile."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def curvature(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reference: Sequence[Example],
    book: GradientLedger,
    ids: Sequence[str],
    epoch: int = 1,
    loss_on: str = "answer",
    progress: bool = False,
) -> pd.DataFrame:
    """g^T H g for each id (columns id, influence): g its recorded gradient, H of the reference's mean loss.

    One graph of the reference's gradient is kept, and each vector costs one backward pass through it.
    """
    book.require_fits(model)
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    batch = batch_of(tokenizer, reference, loss_on)
    values, quiet = [], {} if progress else {"disable": True}  # else TQDM_DISABLE decides
    with forward.evaluation_mode(model), double_differentiable(model):
        loss = forward.losses(model, batch).mean()
        first = torch.autograd.grad(loss, list(trainable.values()), create_graph=True)
        for example in tqdm(ids, desc="curvature", **quiet):
            vector = {n: g.to(loss.device) for n, g in book.stream([example], (epoch,))}
            slope = sum((g * vector[n]).sum() for n, g in zip(trainable, first, strict=True))
            second = torch.autograd.grad(slope, list(trainable.values()), retain_graph=True)
            values.append(
                sum((h.double() * vector[n]).sum().item() for n, h in zip(trainable, second, strict=True))
            )
    return pd.DataFrame({"id": list(ids), "influence": values})


def hessian_product(loss: torch.Tensor, moving: Mapping[str, torch.nn.Parameter], vector: Vectors) -> Vectors:
    """H v of a loss, of which every v is given (Pearlmutter 1994). Inside `double_differentiable`."""
    weights = list(moving.values())
    first = torch.autograd.grad(loss, weights, create_graph=True)
    slope = sum((g * vector[n]).sum() for n, g in zip(moving, first, strict=True))
    return dict(zip(moving, torch.autograd.grad(slope, weights), strict=True))


def gauss_newton(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    moving: Mapping[str, torch.nn.Parameter],
    loss_on: str = "answer",
) -> Callable[[Vectors], Vectors]:
    """v -> (1/n) sum_i J_i^T (diag p - p p^T) J_i v, the Gauss-Newton matrix of the mean l_i, never negative.

    J is the logits' derivative at each labelled token, weighted by 1 over how many its example has. The graph
    of one forward and one backward pass of all the examples is kept. Inside `double_differentiable`.
    """
    weights = list(moving.values())
    logits, _, counts = forward.target_logits(model, batch_of(tokenizer, examples, loss_on))
    share = torch.cat([torch.full((n, 1), 1 / (n * len(counts))) for n in counts]).to(logits.device)
    p, dummy = logits.detach().softmax(-1), torch.zeros_like(logits, requires_grad=True)
    back = torch.autograd.grad(logits, weights, dummy, create_graph=True)  # J^T dummy, linear in it

    def product(vector: Vectors) -> Vectors:
        slope = sum((b * vector[n]).sum() for n, b in zip(moving, back, strict=True))
        (ahead,) = torch.autograd.grad(slope, dummy, retain_graph=True)  # J v
        inner = share * p * (ahead - (p * ahead).sum(-1, keepdim=True))
        return dict(zip(moving, torch.autograd.grad(logits, weights, inner, retain_graph=True), strict=True))

    return product


def conjugate_gradient(
    product: Callable[[Vectors], Vectors], right: Vectors, damping: float, iterations: int, tolerance: float
) -> dict[str, torch.Tensor]:
    """x with (A + damping) x = right, A never negative; until the residual is `tolerance` of `right`."""
    x = {n: torch.zeros_like(t) for n, t in right.items()}
    residual = {n: t.clone() for n, t in right.items()}
    along, size = dict(residual), inner(residual, residual)
    begin = size
    for _ in shown(range(iterations), "conjugate gradients, at most", iterations):
        if size <= tolerance**2 * begin:
            break
        image = {n: t + damping * along[n] for n, t in product(along).items()}
        step = size / inner(along, image)
        x = {n: t + step * along[n] for n, t in x.items()}
        residual = {n: t - step * image[n] for n, t in residual.items()}
        before, size = size, inner(residual, residual)
        along = {n: t + size / before * along[n] for n, t in residual.items()}
    return x


def inner(a: Vectors, b: Vectors) -> float:
    """Dot product over the parameters of `a`, summed in float64."""
    return sum((t.double() * b[n].double()).sum().item() for n, t in a.items())
