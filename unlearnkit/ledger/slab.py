"""The memory in which a shard is gathered, and the thread that writes it.

One preallocated slab holds every tensor of the steps since the last shard, already in its stored type. A
full one is written in the background; whoever needs the slab meanwhile waits: memory is bounded by
construction.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from unlearnkit.errors import LedgerError
from unlearnkit.ledger.rows import EVERY, Rows, chosen
from unlearnkit.ledger.shard import ROWS, Piece
from unlearnkit.ledger.store import Store

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SHARD_BYTES = 64 << 20  # a shard is written once it holds this much (one step is never split)
CHUNK = 1 << 19  # numbers cast at a time: stays in the cache, and is enough work for a call
FP16_TOP = 14  # scaled anew, the largest half is below 2^14: no overflow, and small values stay normal
FP16_LEAST = -2  # and it may be this small, 2^-2, before that: halves are then exact to 2^-25, absolutely


def scale_exponent(top: float) -> int:
    """e such that numbers up to `top` times 2^e use float16's range; 0 where nothing can be scaled."""
    if not 0 < top < float("inf"):
        return 0
    return max(-100, min(100, FP16_TOP - math.frexp(top)[1]))


def _fits(top: float) -> bool:
    """Whether halves with this largest magnitude use their range well enough."""
    return 2.0**FP16_LEAST <= top < 2.0 ** (FP16_TOP + 1)


def _aligned(size: int) -> int:
    """Bytes of a block with what keeps the next one at a multiple of any number's size."""
    return -(-size // 64) * 64


def _largest(values: torch.Tensor) -> float:
    low, high = torch.aminmax(values)
    return max(-low.item(), high.item())


class Shape(NamedTuple):
    """What tensors of a step have in common that lie side by side in the slab."""

    rows: str  # which of shard.ROWS the leading dimension runs over
    dtype: torch.dtype
    width: int


Layout = Mapping[Shape, Sequence[str]]  # the tensors of a step, by shape


@dataclass
class _Step:
    """The records of one step: a block of the slab for all tensors of a shape, and what is told of them."""

    ids: list[str]
    lengths: list[Sequence[int]]  # (live, targets) rows of each example
    blocks: dict[Shape, torch.Tensor]  # (tensors, rows, width)
    exponents: dict[str, int] = field(default_factory=dict)  # by tensor, once it has been put
    number: int = 0
    rate: float = 0.0
    arrive: Callable[[], None] = lambda: None  # waits for what is still on its way from a GPU


def pieces(layout: Layout, steps: Sequence[_Step]) -> list[Piece]:
    """Every tensor of these steps as the shard takes it: a view of the slab for each step."""
    found = []
    for shape, names in layout.items():
        blocks = [step.blocks[shape].view(torch.uint8).flatten(1).numpy() for step in steps]
        for k, name in enumerate(names):
            exponents = [step.exponents[name] for step in steps for _ in step.ids]
            found.append(Piece(name, *shape, [memoryview(block[k]) for block in blocks], exponents))
    return found


class Slab:
    """Gathers the records of whole steps: `begin`, `put` every tensor, then `end`; `flush` writes them."""

    def __init__(self, store: Store):
        self.store = store
        self.dtype = DTYPES[store.dtype]
        self.memory = torch.empty(0, dtype=torch.uint8)
        self.scratch = torch.empty(CHUNK)
        self.views: dict[tuple[int, ...], torch.Tensor] = {}  # of the scratch, by shape
        self.guesses: dict[str, int] = {}  # by tensor: the exponent of the step before
        self.layout: Layout = {}
        self.steps: list[_Step] = []
        self.used = 0
        self.writer: threading.Thread | None = None
        self.failure: BaseException | None = None

    # -- one step ---------------------------------------------------------------------------------------

    def begin(self, ids: Sequence[str], lengths: Sequence[Sequence[int]], layout: Layout) -> None:
        """Start a step with the records of `ids`, and give every tensor of the layout its room.

        All at once: a view made by itself, between two products, costs as much as a cast. The rooms may be on
        their way to disk until the first `put`.
        """
        if layout is not self.layout:
            self.flush()  # a shard has one layout
            self.layout = layout
        live, targets = map(sum, zip(*lengths, strict=True))
        counts = dict(zip(ROWS, (live, targets, len(ids)), strict=True))
        blocks = self._blocks({s: (len(names), counts[s.rows], s.width) for s, names in layout.items()})
        parts = ((names, blocks[shape].unbind()) for shape, names in layout.items())
        self.rooms = {n: room for names, rooms in parts for n, room in zip(names, rooms, strict=True)}
        self.step = _Step(list(ids), list(lengths), blocks)

    def _blocks(self, sizes: Mapping[Shape, tuple[int, int, int]]) -> dict[Shape, torch.Tensor]:
        """Room for a step's tensors, (tensors, rows, width) of each shape, side by side in the slab."""
        taken = {shape: math.prod(size) * shape.dtype.itemsize for shape, size in sizes.items()}
        need = sum(map(_aligned, taken.values()))
        if self.used + need > self.memory.numel():
            self.flush()
            self.join()
            if need > self.memory.numel():
                self.memory = torch.empty(max(need, SHARD_BYTES + need), dtype=torch.uint8)
        blocks = {}
        for shape, size in sizes.items():
            blocks[shape] = self.memory[self.used : self.used + taken[shape]].view(shape.dtype).view(size)
            self.used += _aligned(taken[shape])
        self.views.clear()
        return blocks

    def end(self, epoch: int, number: int, rate: float) -> None:
        """Close the step. LedgerError if some tensor was not put in it."""
        for name in self.rooms:
            if name not in self.step.exponents:
                raise LedgerError(f"no gradient reached {name!r} in step {number}: is the module still used?")
        self.step.number, self.step.rate, self.epoch = number, rate, epoch
        self.steps.append(self.step)
        if self.used >= SHARD_BYTES:
            self.flush()

    def put_ids(self, name: str, ids: torch.Tensor, rows: Rows) -> None:
        """Keep those token ids of (B, T), a row for each."""
        self.join()
        self.rooms[name].copy_(chosen(ids.unsqueeze(-1), rows).reshape(-1, 1))
        self.step.exponents[name] = 0

    def put(self, name: str, values: torch.Tensor, rows: Rows = EVERY) -> None:
        """Cast those rows of (B, T, width) values into their room.

        Halves are scaled by the exponent that served the step before; only where it does not fit any more are
        they cast a second time.
        """
        self.join()  # the slab may still be on its way to disk
        out = self.rooms[name]
        exponent = self.guesses.get(name, 0)
        if not self._cast(values, rows, exponent, out):
            exponent = self._exponent(values, rows, out)
            self._cast(values, rows, exponent, out)
        self.guesses[name] = self.step.exponents[name] = exponent

    def _cast(self, values: torch.Tensor, rows: Rows, exponent: int, out: torch.Tensor) -> bool:
        """Fill `out`; whether it fits there, which only halves may not: those are quicker to look at."""
        half, top = out.dtype == torch.float16, 0.0
        for part, room in self._parts(values, rows, out):
            if exponent:
                part = torch.mul(part, 2.0**exponent, out=self._scratch(part.shape))
            room.copy_(part)
            if half and room.numel():
                top = max(top, _largest(room))
        return not half or _fits(top)

    def _exponent(self, values: torch.Tensor, rows: Rows, out: torch.Tensor) -> int:
        """The exponent that these values need as halves: none where they fit as they are."""
        top = max((_largest(part) for part, _ in self._parts(values, rows, out) if part.numel()), default=0.0)
        return 0 if _fits(top) else scale_exponent(top)

    def _parts(
        self, values: torch.Tensor, rows: Rows, out: torch.Tensor
    ) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """The chosen rows and their room in `out`, a cache-sized part at a time, in float32."""
        values = values.float()
        if isinstance(rows, torch.Tensor):
            return self._gathered(values.flatten(0, 1), rows, out)
        picked = values[rows]
        room = out.view(picked.shape)
        if picked.numel() <= CHUNK:  # the usual case, made short: Python is slow between products
            return ((picked, room),)
        if picked.is_contiguous():
            return zip(picked.view(-1).split(CHUNK), room.view(-1).split(CHUNK), strict=True)
        tokens = max(1, CHUNK * picked.shape[1] // picked.numel())
        return zip(picked.split(tokens, 1), room.split(tokens, 1), strict=True)

    def _gathered(
        self, values: torch.Tensor, index: torch.Tensor, out: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`_parts` of rows that lie apart: brought together in the scratch."""
        width = values.shape[1]
        step = max(1, CHUNK // width)
        for part, room in zip(index.split(step), out.split(step), strict=True):
            yield torch.index_select(values, 0, part, out=self._scratch((len(part), width))), room

    def _scratch(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Memory for a part, which all parts share; a step makes its views once, a tenth of a cast each."""
        if shape not in self.views:
            if (size := math.prod(shape)) > len(self.scratch):  # of a part that cannot be cut
                self.scratch = torch.empty(size)
            self.views[shape] = self.scratch[:size].view(shape)
        return self.views[shape]

    # -- writing ----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand the slab to the writer; it may be reused once `join` has returned."""
        if not self.steps:
            return
        self.join()
        self.writer = threading.Thread(
            target=self._write, args=(self.layout, self.steps, self.epoch), daemon=True
        )
        self.writer.start()
        self.steps, self.used = [], 0

    def _write(self, layout: Layout, steps: list[_Step], epoch: int) -> None:
        try:
            for step in steps:
                step.arrive()
            lengths = [n for step in steps for n in step.lengths]
            told = [(i, step.number, step.rate) for step in steps for i in step.ids]
            self.store.append(pieces(layout, steps), lengths, *zip(*told, strict=True), epoch)
        except BaseException as error:
            self.failure = error

    def join(self, quiet: bool = False) -> None:
        """Wait for the writer; its failure is raised here, a full disk as a LedgerError, unless `quiet`."""
        if self.writer is not None:
            self.writer.join()
            self.writer = None
        if self.failure is not None and not quiet:
            failure, self.failure = self.failure, None
            if isinstance(failure, OSError):
                raise LedgerError(
                    f"the ledger could not be written to {self.store.path}: {failure.strerror or failure}. "
                    "Free space there, or choose another folder, and call again: it resumes after the last "
                    "finished epoch"
                ) from failure
            raise failure
