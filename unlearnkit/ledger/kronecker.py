"""Second moments of stored factors, a small matrix for each side of a weight, and sums shaped by them.

For a linear site the Fisher matrix of one example's gradient is close to A (x) G (Martens & Grosse 2015): A
the second moment of what enters, here of trace 1, and G that of the gradients at the output, summed over an
example's tokens and times the inputs' mean square. Where a record is kept whole (M_i instead of factors) A
and G are sum M_i^T M_i over its trace, and the mean of M_i M_i^T. What enters an embedding is one token of
many, whose A is its share of the tokens. Vocabularies, and sides wider than WIDEST, have their diagonal only,
and so do biases and norms, of the records' own gradients.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch

from unlearnkit.layers import Layers, select
from unlearnkit.ledger.algebra import Factors, gram
from unlearnkit.ledger.book import GradientLedger
from unlearnkit.ledger.reader import Key
from unlearnkit.ledger.sites import Site

log = logging.getLogger("unlearnkit.ledger")

WIDEST = 4096
Operator = Callable[[torch.Tensor], torch.Tensor]  # from a moment (w, w) or (w,) to what is applied


def shaped(
    book: GradientLedger, summed: Sequence[Key], others: Sequence[Key], layers: Layers, operator: Operator
) -> Iterator[tuple[str, torch.Tensor]]:
    """(parameter name, sum of the records `summed`, `operator` applied on each side) pairs, in model order.

    The operator is made of the moments of `others`, site by site; the roles of a tied matrix have their own.
    LedgerError or KeyError for records that are not there.
    """
    chosen = select(book.tags, layers)
    summed, others = (book.reader.as_stored(keys)[1] for keys in (summed, others))
    _tell_of_whole(book, others)
    for name in dict.fromkeys(slot.parameter for slot in chosen):
        total = torch.zeros(book.shapes[name], device=book.device)
        for site, is_weight in book.reader.sites_of(chosen, name):
            part = torch.zeros_like(total)
            for factors in book.reader.read(site, summed, bias_only=not is_weight):
                (factors.add_weight if is_weight else factors.add_bias)(part)
            if is_weight and site.kind != "norm":
                inner, outer = (operator(moment) for moment in moments(book, site, others))
                tall, wide = (outer, inner) if site.kind == "linear" else (inner, outer)
                matrix = _apply(tall, part.view(len(tall), len(wide)))
                part = _apply(wide, matrix.T).T.reshape(part.shape)
            else:
                part *= operator(_squares(book, site, others, is_weight)).view_as(part)
            total += part
        yield name, total


def moments(book: GradientLedger, site: Site, keys: Sequence[Key]) -> tuple[torch.Tensor, torch.Tensor]:
    """A (in, in) and G (out, out) of these records at a site, float64; (in,) or (out,) where diagonal.

    However the records are read: sums over all of a kind (factors, or kept whole) come before any division.
    """
    inner = outer = 0.0
    for of_kind in _sums(book, site, keys):
        trace = float(_trace(of_kind.inner))
        size = trace / of_kind.tokens if of_kind.tokens else 1.0  # the inputs' mean square
        inner = inner + of_kind.inner * (of_kind.n / max(trace, 1e-300) / len(keys))
        outer = outer + of_kind.outer * (size / len(keys))
    return inner, outer


def _tell_of_whole(book: GradientLedger, keys: Sequence[Key]) -> None:
    """Warn of sites whose moments are made of whole records, although factors could have been kept."""
    shards = {book.reader.where[key][0]: book.reader.shard(book.reader.where[key][0]) for key in keys}
    factored = [site.module for site in book.reader.sites if site.factored]
    if whole := [m for m in factored if any(shard.has(f"{m}/g") for shard in shards.values())]:
        log.warning(
            "texts are so long that the ledger keeps whole gradients of %s of %s linear maps, and A and G of "
            "these; for those of tokens, as K-FAC has them, record with fine_tune(..., ledger_factors=True)",
            len(whole),
            len(factored),
        )


@dataclass
class _Sums:
    """Of records of one kind: their number, their tokens (0 where kept whole), and raw sums of moments."""

    n: int = 0
    tokens: int = 0
    inner: torch.Tensor | float = 0.0
    outer: torch.Tensor | float = 0.0


def _sums(book: GradientLedger, site: Site, keys: Sequence[Key]) -> Collection[_Sums]:
    found: dict[bool, _Sums] = {}
    for factors in book.reader.read(site, keys):
        sums = found.setdefault(factors.dense is not None, _Sums())
        sums.n += factors.n
        sums.tokens += 0 if factors.dense is not None else len(factors.owner)
        sums.inner = sums.inner + _inner(site, factors)
        sums.outer = sums.outer + _second(_outer(site, factors), diagonal=site.on_targets)
    return found.values()


def _inner(site: Site, factors: Factors) -> torch.Tensor:
    """The inputs' second moment, not yet of trace 1."""
    if site.kind == "embedding":
        return torch.bincount(factors.ids, minlength=site.width_in).double()
    return _second(factors.x if factors.dense is None else _whole(site, factors).flatten(0, 1))


def _outer(site: Site, factors: Factors) -> torch.Tensor:
    """Rows whose second moment is that of the gradients at the output."""
    if factors.dense is not None:
        return _whole(site, factors).transpose(1, 2).flatten(0, 1)
    return factors.d


def _whole(site: Site, factors: Factors) -> torch.Tensor:
    """(n, out, in): records kept whole."""
    found = factors.dense.view(factors.n, *factors.shape())
    return found if site.kind == "linear" else found.transpose(1, 2)


def _squares(book: GradientLedger, site: Site, keys: Sequence[Key], is_weight: bool) -> torch.Tensor:
    """Mean squares of the records' own gradients: of a bias, or a norm's weight."""
    parts = book.reader.read(site, keys, bias_only=not is_weight)
    found = [(f.reduced_weight if is_weight else f.bias_vectors()).double().square().sum(0) for f in parts]
    return sum(found) / len(keys)


def _second(rows: torch.Tensor, diagonal: bool = False) -> torch.Tensor:
    """Sum of outer products of rows, or of their squares alone, as where they are wide."""
    if diagonal or rows.shape[1] > WIDEST:
        return rows.square().sum(0).double()
    return gram(rows.T).double()


def _trace(moment: torch.Tensor) -> torch.Tensor:
    return (moment if moment.dim() == 1 else moment.diagonal()).sum()


def _apply(operator: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    operator = operator.to(values.dtype)
    return operator[:, None] * values if operator.dim() == 1 else operator @ values
