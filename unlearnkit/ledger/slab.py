"""The memory in which a shard is gathered, and the thread that writes it.

One preallocated slab holds every tensor of the steps since the last shard, already in its stored type. A
full one is written in the background; whoever needs the slab meanwhile waits: memory is bounded by
construction.
"""

import math
import threading
from collections.abc import Sequence

import torch

from unlearnkit.errors import LedgerError
from unlearnkit.ledger.shard import Piece
from unlearnkit.ledger.store import Store

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SHARD_BYTES = 64 << 20  # a shard is written once it holds this much (one step is never split)
CHUNK = 1 << 20  # numbers cast at a time: stays in the cache, and is enough work for a call
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


def _largest(values: torch.Tensor) -> float:
    low, high = torch.aminmax(values)
    return max(-low.item(), high.item())


class Slab:
    """Gathers the records of whole steps: `begin`, any number of `put`, then `end`; `flush` writes them."""

    def __init__(self, store: Store):
        self.store = store
        self.dtype = DTYPES[store.dtype]
        self.memory = torch.empty(0, dtype=torch.uint8)
        self.scratch = torch.empty(CHUNK)
        self.guesses: dict[str, int] = {}  # by tensor: the exponent of the step before
        self.writer: threading.Thread | None = None
        self.failure: BaseException | None = None
        self._empty()

    def _empty(self) -> None:
        self.used, self.pieces = 0, {}
        self.ids, self.steps, self.rates, self.lengths = [], [], [], []

    # -- one step ---------------------------------------------------------------------------------------

    def begin(self, ids: Sequence[str], lengths: Sequence[Sequence[int]], need: int) -> None:
        """Start a step with the records of `ids`; `need` is an upper bound of their bytes."""
        if self.used + need > self.memory.numel():
            self.flush()
            self.join()
            if need > self.memory.numel():
                self.memory = torch.empty(max(need, SHARD_BYTES + need), dtype=torch.uint8)
        self.step_ids, self.step_lengths = list(ids), list(lengths)

    def end(self, epoch: int, step: int, lr: float) -> None:
        """Close the step. LedgerError if some tensor was not put in it."""
        self.ids += self.step_ids
        self.lengths += self.step_lengths
        self.steps += [step] * len(self.step_ids)
        self.rates += [lr] * len(self.step_ids)
        self.epoch = epoch
        for piece in self.pieces.values():
            if len(piece.exponents) != len(self.ids):
                raise LedgerError(
                    f"no gradient reached {piece.name!r} in step {step}: is the module still used?"
                )
        if self.used >= SHARD_BYTES:
            self.flush()

    def put_ids(self, name: str, ids: torch.Tensor) -> None:
        """Keep token ids, a row for each live token."""
        out, piece = self._room(name, "live", torch.int32, (len(ids), 1))
        out.copy_(ids[:, None])
        piece.exponents += [0] * len(self.step_ids)

    def put(self, name: str, rows: str, values: torch.Tensor, index: torch.Tensor | None = None, dtype=None):
        """Cast the rows of (B, T, width) values that `index` names (default all) into the slab.

        `rows` is the row set (shard.ROWS) that they are stored as. Halves are scaled by the exponent that
        served the step before; only where it does not fit any more are they cast a second time.
        """
        dtype = dtype or self.dtype
        values = values.flatten(0, 1)
        index = index if index is not None and len(index) < len(values) else None
        shape = (len(values) if index is None else len(index), values.shape[1])
        out, piece = self._room(name, rows, dtype, shape)
        exponent = self.guesses.get(name, 0) if dtype == torch.float16 else 0
        top = self._cast(values, index, exponent, out)
        if dtype == torch.float16:
            if exponent and not _fits(top):  # scaled, it may even have left float32's range
                exponent = 0
                top = self._cast(values, index, exponent, out)
            if not _fits(top) and (better := scale_exponent(top)):
                exponent = better
                self._cast(values, index, exponent, out)
            self.guesses[name] = exponent
        piece.exponents += [exponent] * len(self.step_ids)

    def _cast(
        self, values: torch.Tensor, index: torch.Tensor | None, exponent: int, out: torch.Tensor
    ) -> float:
        """Fill `out`, a cache-sized chunk at a time; returns the largest scaled magnitude of halves."""
        count, width = out.shape
        half = out.dtype == torch.float16
        if values.dtype != torch.float32 or width > len(self.scratch):
            chosen = (values if index is None else values[index]).float() * 2.0**exponent
            out.copy_(chosen)
            return _largest(chosen) if half and count else 0.0
        step, top = len(self.scratch) // width, 0.0
        for start in range(0, count, step):
            stop = min(start + step, count)
            room = self.scratch[: (stop - start) * width].view(-1, width)
            part = values[start:stop]
            if index is not None:
                part = torch.index_select(values, 0, index[start:stop], out=room)
            if exponent:
                part = torch.mul(part, 2.0**exponent, out=room)
            out[start:stop].copy_(part)
            if half:
                top = max(top, _largest(part))
        return top

    def _room(
        self, name: str, rows: str, dtype: torch.dtype, shape: tuple[int, int]
    ) -> tuple[torch.Tensor, Piece]:
        """A view of the slab for one tensor of this step, and the piece it is registered with."""
        if self.used == 0:
            self.join()  # the slab may still be on its way to disk
        nbytes = shape[0] * shape[1] * dtype.itemsize
        view = self.memory[self.used : self.used + nbytes]
        self.used += -(-nbytes // 8) * 8
        piece = self.pieces.setdefault(name, Piece(name, rows, dtype, shape[1]))
        if (piece.rows, piece.dtype, piece.width) != (rows, dtype, shape[1]):
            raise LedgerError(f"record {name!r} changed its layout between two steps")
        piece.views.append(memoryview(view.numpy()))
        return view.view(dtype).view(shape), piece

    # -- writing ----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand the slab to the writer; it may be reused once `join` has returned."""
        if not self.ids:
            return
        self.join()
        work = (list(self.pieces.values()), self.lengths, self.ids, self.steps, self.rates, self.epoch)
        self.writer = threading.Thread(target=self._write, args=work, daemon=True)
        self.writer.start()
        self._empty()

    def _write(self, *work) -> None:
        try:
            self.store.append(*work)
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
