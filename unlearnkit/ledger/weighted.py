"""Weighted sums of records, and their dot products in a metric with a weight for each coordinate.

`algebra` has dot products from factors alone, for the plain metric. Where every coordinate has a weight of
its own, such as AdamW's 1 / sqrt(v), no such form exists: there the sums are built, a block of a parameter's
leading rows at a time, so that memory stays bounded whatever the model. Where more than a few sums are
compared that is the cheaper way in the plain metric too.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby

import torch

from unlearnkit.layers import Layers, Slot, select
from unlearnkit.ledger import algebra
from unlearnkit.ledger.algebra import Factors
from unlearnkit.ledger.book import GradientLedger
from unlearnkit.ledger.reader import Key

BLOCK_BYTES = 128 << 20  # of sums held at a time
Term = tuple[GradientLedger, Key, float]  # a record and its weight
Metric = Callable[[str], torch.Tensor]  # a parameter's weights, none below 0, of its shape or one for all


def gram(sums: Sequence[Sequence[Term]], layers: Layers, metric: Metric) -> torch.Tensor:
    """(n, n) dot products, float64, of n weighted sums of records: sum over coordinates of w * s_i * s_j.

    Every ledger among them must be of models with the same parameters, and on one device. LayerError for
    unknown layers.
    """
    book = sums[0][0][0]
    found = torch.zeros(len(sums), len(sums), dtype=torch.float64, device=book.device)
    for name, slots in _by_parameter(book, layers):
        rows, width = _matrix(book.shapes[name])
        weights = metric(name).to(book.device).expand(book.shapes[name]).reshape(rows, width)
        size = max(1, BLOCK_BYTES // (4 * width * len(sums)))
        for start in range(0, rows, size):
            cut = slice(start, min(start + size, rows))
            block = torch.zeros(len(sums), cut.stop - start, width, device=book.device)
            _fill(block, sums, name, slots, cut)
            found += algebra.gram(block.flatten(1).mul_(weights[cut].flatten().sqrt())).double()
    return ((found + found.T) / 2).cpu()


def total(terms: Sequence[Term], layers: Layers) -> Iterator[tuple[str, torch.Tensor]]:
    """(parameter name, weighted sum of records) pairs, in model order, one dense tensor at a time."""
    book = terms[0][0]
    for name, slots in _by_parameter(book, layers):
        rows, width = _matrix(book.shapes[name])
        block = torch.zeros(1, rows, width, device=book.device)
        _fill(block, [terms], name, slots, slice(0, rows))
        yield name, block.view(book.shapes[name])


def _by_parameter(book: GradientLedger, layers: Layers) -> Iterator[tuple[str, list[Slot]]]:
    chosen = select(book.tags, layers)
    return ((name, chosen) for name in dict.fromkeys(slot.parameter for slot in chosen))


def _matrix(shape: Sequence[int]) -> tuple[int, int]:
    """A parameter's shape as (leading rows, numbers in each)."""
    rows = shape[0] if len(shape) else 1
    return rows, int(torch.Size(shape).numel()) // max(rows, 1)


def _fill(
    block: torch.Tensor, sums: Sequence[Sequence[Term]], name: str, chosen: Collection[Slot], cut: slice
) -> None:
    """block[k] += the rows `cut` of sum k, of one parameter."""
    every = [(book, key, weight, k) for k, terms in enumerate(sums) for book, key, weight in terms]
    for _, group in groupby(sorted(every, key=lambda t: id(t[0])), lambda t: id(t[0])):
        terms = list(group)
        book = terms[0][0]
        order, keys = book.reader.as_stored([key for _, key, _, _ in terms])
        scales = torch.tensor([weight for _, _, weight, _ in terms])[order].to(block.device)
        into = torch.tensor([k for *_, k in terms])[order].to(block.device)
        for site, is_weight in book.reader.sites_of(chosen, name):
            for place, factors in book.reader.placed(site, keys, not is_weight, cut):
                here = slice(place, place + factors.n)
                _add(block, factors, is_weight, cut, scales[here], into[here])


def _add(
    block: torch.Tensor,
    factors: Factors,
    is_weight: bool,
    cut: slice,
    scales: torch.Tensor,
    into: torch.Tensor,
) -> None:
    """block[k] += these records' rows `cut`, each times its scale, where `into` says k."""
    site, owner = factors.site, factors.owner
    if not is_weight or site.kind == "norm" or factors.dense is not None:
        vectors = _vectors(factors, is_weight)[:, cut] * scales[:, None, None]
        block.index_add_(0, into, vectors.view(factors.n, *block.shape[1:]))
    elif site.kind == "embedding":
        here = (factors.ids >= cut.start) & (factors.ids < cut.stop)
        places = into[owner[here]] * block.shape[1] + factors.ids[here] - cut.start
        block.flatten(0, 1).index_add_(0, places, (factors.d * scales[owner, None])[here])
    else:
        tall, wide = (factors.d, factors.x) if site.kind == "linear" else (factors.x, factors.d)
        tall = tall * scales[owner, None]  # of which `cut` was read
        by_sum = into[owner].argsort(stable=True)
        counts = torch.bincount(into[owner], minlength=len(block)).tolist()
        for k, rows in enumerate(by_sum.split(counts)):
            if len(rows):
                block[k].addmm_(tall[rows].T, wide[rows])


def _vectors(factors: Factors, is_weight: bool) -> torch.Tensor:
    """(n, leading rows, numbers in each) of what is kept, or reduced, whole."""
    if not is_weight:
        return factors.bias_vectors()[:, :, None]
    if factors.dense is not None:
        return factors.dense.view(factors.n, *factors.shape())
    return factors.reduced_weight[:, :, None]
