"""Which tensors a step leaves in a shard, and whether a site's gradient or its factors are smaller."""

from collections import defaultdict
from collections.abc import Collection, Sequence

import torch

from unlearnkit.ledger.sites import Site
from unlearnkit.ledger.slab import Layout, Shape


def smaller_whole(sites: Sequence[Site], counts: Sequence[Sequence[int]]) -> set[str]:
    """The sites, by module, whose whole gradients take less room than factors of (live, targets) rows."""
    return {site.module for site in sites if site.factored and _is_smaller_whole(site, counts)}


def _is_smaller_whole(site: Site, counts: Sequence[Sequence[int]]) -> bool:
    rows = sum(c[1 if site.on_targets else 0] for c in counts)
    return rows * (site.width_in + site.width_out) > len(counts) * site.width_in * site.width_out


def layout_of(sites: Sequence[Site], dense_sites: Collection[str], kept: torch.dtype) -> Layout:
    """The tensors of a step, by shape; which of a site's two forms is kept depends on `dense_sites`."""
    found: dict[Shape, dict[str, None]] = defaultdict(dict)  # names, each once, in order

    def place(name: str, rows: str, dtype: torch.dtype, width: int) -> None:
        found[Shape(rows, dtype, width)][name] = None

    for site in sites:
        rows = "targets" if site.on_targets else "live"
        dense = site.module in dense_sites
        if site.kind == "norm" and site.weight is not None:
            place(f"{site.module}/weight", "one", torch.float32, site.width_out)
        elif site.kind == "embedding":
            place(f"{site.module}/ids", "live", torch.int32, 1)
            place(f"{site.module}/d", "live", kept, site.width_out)
        elif site.kind == "autograd" or site.factored and dense:
            place(f"{site.module}/g", "one", kept, site.width_in * site.width_out)
        elif site.factored:
            place(f"{site.module}/d", rows, kept, site.width_out)
            place(f"{site.group}/x", rows, kept, site.width_in)
        if site.bias is not None and (dense or not site.factored):
            place(f"{site.module}/bias", "one", torch.float32, site.width_out)
    return {shape: list(names) for shape, names in found.items()}
