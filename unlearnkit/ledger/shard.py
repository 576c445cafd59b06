"""One shard: a safetensors file that holds the records of some examples of one epoch.

Tensors are stacked over the shard's examples; `offsets` say which rows are whose. Three small tensors come
first: row offsets, scale exponents, and a checksum for each (tensor, example), so that any part can be read,
and trusted, without reading the rest. The layout is plain safetensors: any reader opens it.
"""

import json
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import xxhash

from unlearnkit import files
from unlearnkit.errors import LedgerError

SAFETENSORS = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.int64: "I64",
}
TORCH = {name: dtype for dtype, name in SAFETENSORS.items()}
TABLES = ("offsets", "exponents", "checksums")  # first in every shard
ROWS = ("live", "targets", "one")  # row sets: every live token; predicting positions; one row an example
WRITE_BYTES = 1 << 20  # at a time: for more the kernel seeks large pages, memory that nobody has touched yet
SIGNED = struct.Struct("<q")  # a checksum in the tables
WHOLE = slice(None)
GAP_BYTES = 1 << 16  # of records that nobody asked for, read over rather than asking twice


@dataclass
class Piece:
    """A stacked tensor of the shard while it is being gathered: one buffer view per step, in order."""

    name: str
    rows: str  # which of ROWS its leading dimension runs over
    dtype: torch.dtype
    width: int
    views: list[memoryview] = field(default_factory=list)
    exponents: list[int] = field(default_factory=list)  # one per example


def digest(data) -> int:
    """64-bit checksum as a signed integer (safetensors has no unsigned type that torch reads)."""
    return SIGNED.unpack(xxhash.xxh3_64_digest(data))[0]


def row_offsets(lengths: Sequence[Sequence[int]]) -> np.ndarray:
    """(len(ROWS), n + 1) running sums of the rows of each example, from (live, targets) pairs."""
    counts = np.array([[live, targets, 1] for live, targets in lengths], dtype=np.int64).reshape(-1, 3)
    return np.concatenate([np.zeros((1, 3), np.int64), counts.cumsum(0)]).T.copy()


def write(path: Path, pieces: Sequence[Piece], lengths: Sequence[Sequence[int]]) -> dict:
    """Write a shard atomically and return its index entry: bytes and the hash of header and tables.

    Nothing is left behind on failure; OSError (a full disk) passes through to the caller.
    """
    offsets = row_offsets(lengths)
    exponents = np.array([p.exponents for p in pieces], dtype=np.int32).reshape(len(pieces), len(lengths))
    checksums = np.empty(exponents.shape, np.int64)
    tables = dict(zip(TABLES, (offsets, exponents, checksums), strict=True))
    header, size = _header(pieces, tables)
    with files.replacing(path) as partial, open(partial, "wb", 0) as file, ThreadPoolExecutor(1) as helper:
        summing = helper.submit(_fill, checksums, pieces, offsets)  # on the core that does not write
        file.seek(len(header) + sum(table.nbytes for table in tables.values()))
        for piece in pieces:
            for view in piece.views:
                _write_all(file, view)
        summing.result()
        front = header + b"".join(table.tobytes() for table in tables.values())
        file.seek(0)
        _write_all(file, front)
    return {"bytes": len(header) + size, "hash": digest(front)}


def _write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write every byte of it, wherever the file stands."""
    view, done = memoryview(data), 0
    while done < view.nbytes:
        done += file.write(view[done : done + WRITE_BYTES])


def _header(pieces: Sequence[Piece], tables: dict[str, np.ndarray]) -> tuple[bytes, int]:
    """The safetensors header of tables and pieces with its length before it, and the bytes that follow."""
    header: dict = {"__metadata__": {"rows": json.dumps({p.name: p.rows for p in pieces})}}
    end = 0

    def place(name, dtype, shape, nbytes):
        nonlocal end
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + nbytes]}
        end += nbytes

    for name, table in tables.items():
        place(name, "I32" if table.dtype == np.int32 else "I64", table.shape, table.nbytes)
    for p in pieces:
        shape = (int(tables["offsets"][ROWS.index(p.rows), -1]), p.width)
        place(p.name, SAFETENSORS[p.dtype], shape, sum(v.nbytes for v in p.views))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, end


def _fill(checksums: np.ndarray, pieces: Sequence[Piece], offsets: np.ndarray) -> None:
    """Checksums of each piece, of each example's rows; these never straddle two steps."""
    for row, piece in zip(checksums, pieces, strict=True):
        row_bytes = piece.width * piece.dtype.itemsize
        bounds = (offsets[ROWS.index(piece.rows)] * row_bytes).tolist()
        sums, view, begin, views = [], memoryview(b""), 0, iter(piece.views)
        for start, stop in pairwise(bounds):
            while start - begin >= view.nbytes and stop > start:
                begin += view.nbytes
                view = next(views)
            sums.append(digest(view[start - begin : stop - begin]))
        row[:] = sums


class Shard:
    """A shard open for reading. Rows are read with pread, so memory stays that of what is asked for."""

    def __init__(self, path: Path, entry: dict):
        """Raises LedgerError when the file is missing, short, or its header or tables have changed."""
        self.path, self.examples = path, entry["examples"]
        try:
            self.fd = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise LedgerError(
                f"shard {path.name} cannot be opened ({error.strerror}); {self._who()}"
            ) from None
        size = os.fstat(self.fd).st_size
        if size != entry["bytes"]:
            self._damaged(f"holds {size:,} bytes instead of {entry['bytes']:,}")
        length = int.from_bytes(os.pread(self.fd, 8, 0), "little")
        if length > size:
            self._damaged("has a damaged header")
        raw = os.pread(self.fd, length, 8)
        try:
            self.header = json.loads(raw)
            tables_end = self.header[TABLES[-1]]["data_offsets"][1]
        except (ValueError, KeyError):
            self._damaged("has a damaged header")
        self.start = 8 + length
        if digest(os.pread(self.fd, self.start + tables_end, 0)) != entry["hash"]:
            self._damaged("has a damaged header")
        self.rows_of = json.loads(self.header["__metadata__"]["rows"])
        self.names = list(self.rows_of)
        self.offsets, self.exponents, self.checksums = (self._table(t) for t in TABLES)
        self._place = {name: k for k, name in enumerate(self.names)}  # row of a tensor in the tables
        self._begins: dict[str, list[int]] = {}
        self._lengths = dict(zip(ROWS, np.diff(self.offsets), strict=True))

    def __del__(self):
        if getattr(self, "fd", None) is not None:
            os.close(self.fd)

    def _who(self) -> str:
        shown = ", ".join(self.examples[:5]) + (", ..." if len(self.examples) > 5 else "")
        return f"it holds the records of {len(self.examples)} examples: {shown}"

    def _damaged(self, how: str, example: str | None = None):
        whose = f"record of example {example!r}" if example else self._who()
        raise LedgerError(
            f"shard {self.path.name} {how} ({whose}). Restore {self.path} from a copy, or delete the ledger "
            "folder and train again"
        )

    def _table(self, name: str) -> np.ndarray:
        entry = self.header[name]
        kind = np.int32 if entry["dtype"] == "I32" else np.int64
        return np.frombuffer(self._bytes(*entry["data_offsets"]), kind).reshape(entry["shape"])

    def _bytes(self, start: int, stop: int) -> memoryview:
        view, done = memoryview(np.empty(stop - start, np.uint8)), 0  # not zeroed: it is read over at once
        while done < len(view):
            got = os.preadv(self.fd, [view[done:]], self.start + start + done)
            if not got:
                self._damaged("ends early")
            done += got
        return view

    def lengths(self, rows: str) -> np.ndarray:
        """Rows of each example in a row set."""
        return self._lengths[rows]

    def has(self, name: str) -> bool:
        return name in self.rows_of

    def raw(self, name: str, places: Sequence[int]) -> memoryview:
        """Bytes from the first to the last of these examples, ascending; each one's checksum verified."""
        starts, tensor = self._starts(name), self._place[name]
        begin, first = self.header[name]["data_offsets"][0], starts[places[0]]
        view = self._bytes(begin + first, begin + starts[places[-1] + 1])
        for k in places:
            if digest(view[starts[k] - first : starts[k + 1] - first]) != self.checksums[tensor, k]:
                self._damaged(f"has a damaged part {name!r}", self.examples[k])
        return view

    def read(
        self, name: str, places: Sequence[int], device: torch.device | str = "cpu", columns: slice = WHOLE
    ) -> torch.Tensor:
        """Rows of examples at ascending places, or some columns, at true size: float32 (or int32), there."""
        parts = [self._rows(name, stretch)[:, columns] for stretch in self._stretches(name, places)]
        rows = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(device)  # as stored: half the bytes
        if rows.dtype == torch.int32:
            return rows
        rows, exponents = rows.float(), self.exponents[self._place[name], places]
        if exponents.any():
            scale = np.exp2(-exponents.astype(np.float64)).astype(np.float32)
            scale = scale.repeat(self.lengths(self.rows_of[name])[places])
            rows *= torch.from_numpy(scale).to(device)[:, None]
        return rows

    def _starts(self, name: str) -> list[int]:
        """Byte at which each example's rows begin within a tensor, and the end of the last."""
        if name not in self._begins:
            entry = self.header[name]
            row_bytes = entry["shape"][1] * TORCH[entry["dtype"]].itemsize
            self._begins[name] = (self.offsets[ROWS.index(self.rows_of[name])] * row_bytes).tolist()
        return self._begins[name]

    def _stretches(self, name: str, places: Sequence[int]) -> Iterator[list[int]]:
        """Ascending places, cut where more than GAP_BYTES lie between two of them."""
        starts, stretch = self._starts(name), [places[0]]
        for k in places[1:]:
            if starts[k] - starts[stretch[-1] + 1] > GAP_BYTES:
                yield stretch
                stretch = []
            stretch.append(k)
        yield stretch

    def _rows(self, name: str, places: Sequence[int]) -> torch.Tensor:
        """Stored rows of a stretch's examples, without those between them."""
        entry = self.header[name]
        stored = torch.frombuffer(self.raw(name, places), dtype=TORCH[entry["dtype"]])
        stored = stored.view(-1, entry["shape"][1])
        if list(places) == list(range(places[0], places[-1] + 1)):
            return stored
        offsets = self.offsets[ROWS.index(self.rows_of[name])]
        wanted = [np.arange(offsets[k], offsets[k + 1]) for k in places]
        return stored[torch.from_numpy(np.concatenate(wanted) - offsets[places[0]])]
