"""Reading recorded factors back: which shard holds which record, in chunks of bounded size."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch

from unlearnkit.layers import Slot
from unlearnkit.ledger.algebra import Factors
from unlearnkit.ledger.shard import WHOLE, Shard
from unlearnkit.ledger.sites import Site
from unlearnkit.ledger.store import Store

BUDGET = 64 << 20  # bytes of decoded factors held at a time
OPEN_SHARDS = 64  # bounds open files and cached headers
Key = tuple[str, int]  # example id, epoch


class Reader:
    """The records of a store, found by (example id, epoch) and decoded site by site, on a device."""

    def __init__(self, store: Store, device: torch.device | str = "cpu"):
        self.store, self.device = store, torch.device(device)
        self.sites = [Site.from_json(s) for s in store.head["sites"]]
        self.where: dict[Key, tuple[int, int]] = {}  # shard number, place in it
        for number, entry in enumerate(store.shards):
            for place, example in enumerate(entry["examples"]):
                self.where[example, entry["epoch"]] = (number, place)
        self.first: dict[str, int] = {}  # the epoch that an example was first trained on
        for example, epoch in self.where:
            self.first[example] = min(epoch, self.first.get(example, epoch))
        self._shards: dict[int, Shard] = {}
        self._adding: dict[str, list[tuple[Site, Slot]]] = {}  # the sites that add to each parameter
        for site in self.sites:
            for slot in site.slots():
                self._adding.setdefault(slot.parameter, []).append((site, slot))

    @property
    def is_staged(self) -> bool:
        """Whether an example was not trained on in every epoch, but in half of them."""
        return "order" in self.store.head["recipe"]

    def asked(self, examples: Collection[str], epoch: int, epochs: Sequence[int] | int | str) -> list[str]:
        """Those whose record of an epoch is one of `epochs`: numbers, "all" that it has, or its "first"."""
        if epochs == "first":
            return [i for i in examples if epoch == (self.first.get(i, 1) if self.is_staged else 1)]
        return self.seen(examples, epoch) if epochs == "all" else list(examples)

    def seen(self, examples: Collection[str], epoch: int) -> list[str]:
        """Those that were trained on in an epoch; all of them, unless the training was staged."""
        return [i for i in examples if not self.is_staged or (i, epoch) in self.where]

    def shard(self, number: int) -> Shard:
        """The open shard of that number; LedgerError if it is missing or its front is damaged."""
        if number not in self._shards:
            if len(self._shards) >= OPEN_SHARDS:
                self._shards.pop(next(iter(self._shards)))
            entry = self.store.shards[number]
            self._shards[number] = Shard(self.store.path / entry["file"], entry)
        return self._shards[number]

    def bytes_by_site(self) -> dict[str, int]:
        """Bytes stored for each tensor name, over all shards."""
        totals: dict[str, int] = {}
        for shard in map(self.shard, range(len(self.store.shards))):
            for name in shard.names:
                begin, end = shard.header[name]["data_offsets"]
                totals[name] = totals.get(name, 0) + end - begin
        return totals

    def as_stored(self, keys: Sequence[Key]) -> tuple[torch.Tensor, list[Key]]:
        """Keys in the order of their records on disk, which `read` is fast in, and where each was."""
        order = sorted(range(len(keys)), key=lambda k: self.where[keys[k]])
        return torch.tensor(order), [keys[k] for k in order]

    def sites_of(self, chosen: Collection[Slot], parameter: str) -> list[tuple[Site, bool]]:
        """(site, is it its weight and not its bias) for each site that adds to a parameter."""
        return [(site, slot == site.weight) for site, slot in self._adding[parameter] if slot in chosen]

    def placed(
        self, site: Site, keys: Sequence[Key], bias_only: bool, cut: slice = WHOLE
    ) -> Iterator[tuple[int, Factors]]:
        """Chunks of factors with the place of their first key."""
        place = 0
        for factors in self.read(site, keys, bias_only, cut):
            yield place, factors
            place += factors.n

    def read(
        self, site: Site, keys: Sequence[Key], bias_only: bool = False, cut: slice = WHOLE
    ) -> Iterator[Factors]:
        """Factors of the keys at a site, in order, in chunks of bounded size and of one kind.

        Those along a factored weight's leading dimension (`d` of a linear module, else `x`) have its rows
        `cut` only.
        """
        run: list[Key] = []
        size, kind = 0, None
        for key in keys:
            shard, place = self.shard(self.where[key][0]), self.where[key][1]
            dense = shard.has(f"{site.module}/g")
            rows = 1 if dense else int(shard.lengths("targets" if site.on_targets else "live")[place])
            width = site.width_in * site.width_out if dense else site.width_in + site.width_out
            if run and (size + rows * width * 4 > BUDGET or dense != kind):
                yield self._load(site, run, kind, bias_only, cut)
                run, size = [], 0
            run, size, kind = [*run, key], size + rows * width * 4, dense
        if run:
            yield self._load(site, run, kind, bias_only, cut)

    def _load(self, site: Site, keys: Sequence[Key], dense: bool, bias_only: bool, cut: slice) -> Factors:
        leading = "d" if site.kind == "linear" else "x"

        def read(suffix: str, module: str = site.module) -> torch.Tensor:
            runs, there = self._runs(keys), self.device
            columns = cut if suffix == leading and not bias_only else WHOLE
            parts = [self.shard(n).read(f"{module}/{suffix}", places, there, columns) for n, places in runs]
            return torch.cat(parts) if len(parts) > 1 else parts[0]

        factors = Factors(site, len(keys))
        if site.kind == "norm" or bias_only and (dense or not site.factored):
            name = "bias" if bias_only else "weight"
            setattr(factors, f"reduced_{name}", read(name))
        elif dense:
            factors.dense = read("g")
        else:
            rows = "targets" if site.on_targets else "live"
            lengths = [self.shard(self.where[k][0]).lengths(rows)[self.where[k][1]] for k in keys]
            factors.owner = torch.from_numpy(np.repeat(np.arange(len(keys)), lengths)).to(self.device)
            factors.d = read("d")
            if site.kind == "embedding":
                factors.ids = read("ids").flatten().long()
            elif not bias_only:
                factors.x = read("x", site.group)
        return factors

    def _runs(self, keys: Sequence[Key]) -> Iterator[tuple[int, list[int]]]:
        """Shard number and ascending places of successive keys."""
        current, places = self.where[keys[0]][0], []
        for number, place in (self.where[k] for k in keys):
            if places and (number != current or place < places[-1]):
                yield current, places
                places = []
            current = number
            places.append(place)
        yield current, places
