"""Whether a purge left anything: fingerprints of examples' records, and where files still hold one.

Fingerprints are taken before the purge, and looked for after it at every byte of every file. They see the
ids, and any WINDOW bytes in a row of what was stored (token ids, factors, gradients), or the whole of what is
shorter; and, as second moments hold everybody, any STRIDE + BLOCK bytes of those. They do not see a copy that
was compressed, rounded or encrypted, freed blocks of a disk, and what trained weights know.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from unlearnkit.errors import RequestError
from unlearnkit.ledger.shard import Shard
from unlearnkit.ledger.store import Store

BLOCK = 32  # bytes that are compared, by a hash
WINDOW = 2 * BLOCK - 1  # bytes in a row that hold at least one whole block, wherever they begin
STRIDE = 4096  # of second moments, bytes from one block to the next
CHUNK = 1 << 22  # bytes read at a time
LEAD = 8  # bytes before a chunk that are read again: what stands before a name
SHORTEST = 8  # bytes of a piece; shorter ones occur by chance
PLAIN = 6  # bytes of a name that is looked for without its quotes too
BASE = 0x9E3779B97F4A7C15  # of the rolling hash, odd
BITS = 24  # of a hash, that the tables are asked for before the sorted hashes are
MASK = np.uint64((1 << BITS) - 1)


@dataclass(frozen=True)
class Fingerprints:
    """What to look for: names, short pieces byte by byte, and the hashes of the blocks of the longer ones.

    `pattern` finds the names as group "name", of which each holds one of `words`.
    """

    words: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    pieces: tuple[bytes, ...]
    blocks: np.ndarray  # uint64, ascending, each once

    @cached_property
    def _tables(self) -> list[tuple[np.uint64, np.ndarray]]:
        """(shift, is some block's hash shifted by it this) pairs: most others are told by a look or two."""
        shifts = [np.uint64(64 - BITS), np.uint64(64 - 2 * BITS)]
        tables = [np.zeros(1 << BITS, bool) for _ in shifts]
        for shift, table in zip(shifts, tables, strict=True):
            table[(self.blocks >> shift) & MASK] = True
        return list(zip(shifts, tables, strict=True))

    def blocks_in(self, data: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
        """Places in the data at which a block begins that is one of these, and its hash."""
        hashes = _hashes(np.frombuffer(data, np.uint8))
        (first, table), (second, other) = self._tables
        places = table[hashes >> first].nonzero()[0]
        places = places[other[(hashes[places] >> second) & MASK]]
        at = np.searchsorted(self.blocks, hashes[places])
        places = places[self.blocks[at % max(len(self.blocks), 1)] == hashes[places]]
        return places, hashes[places]

    def names_in(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where a name begins and ends."""
        if any(word in data for word in self.words):  # which is quicker than the pattern
            yield from (m.span() for m in self.pattern.finditer(data) if m.lastgroup)


@dataclass(frozen=True)
class Trace:
    """Something that should be gone: `length` bytes of a file, in a "name" or in "numbers"."""

    file: Path
    offset: int
    length: int
    what: str


def fingerprints(path: str | Path, ids: Collection[str]) -> Fingerprints:
    """Those of everything that the ledger at `path` stores of these examples alone, and its second moments.

    What others' records hold too, such as the activations of a common beginning, is theirs and not looked
    for; nor are repetitions of one number. Reads the whole ledger once; holds a quarter of the examples'
    bytes in memory. RequestError for an id that has no record, LedgerError where one is damaged.
    """
    store, gone = Store.load(Path(path)), set(ids)
    kept = set(store.head["expected"]) - gone
    if unknown := sorted(gone - set(store.head["expected"])):
        raise RequestError(f"ledger {path} holds no records of {', '.join(map(repr, unknown[:5]))}")
    short: set[bytes] = set()
    found = [_NONE, *(_blocks(moment, STRIDE) for moment in _moments(store))]
    for piece in _records(store, gone):
        if len(piece) >= WINDOW:
            found.append(_blocks(np.frombuffer(piece, np.uint8), BLOCK))
        elif len(piece) >= SHORTEST and not _repeats(np.frombuffer(piece, np.uint8)):
            short.add(piece.tobytes())
    own = Fingerprints(*_names(gone, kept), tuple(sorted(short)), np.unique(np.concatenate(found)))
    return _without(own, _records(store, kept))


def find(folder: str | Path, wanted: Fingerprints) -> list[Trace]:
    """Every place below a folder, in files of any name, that holds something wanted.

    Files are read a CHUNK at a time. Blocks that follow one another are one trace, as far as a chunk reaches.
    Hashes of 64 bits agree by chance too: in one of 600 searches of a gigabyte for a gigabyte of records.
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return [trace for path in files for trace in _in_file(path, wanted)]


def _records(store: Store, ids: Collection[str]) -> Iterator[memoryview]:
    """The bytes of each tensor of each record of these examples, from disk."""
    for entry in store.shards:
        places = [k for k, example in enumerate(entry["examples"]) if example in ids]
        shard = Shard(store.path / entry["file"], entry) if places else None
        for name in shard.names if shard else ():
            for place in places:
                yield shard.raw(name, [place])


def _moments(store: Store) -> Iterator[np.ndarray]:
    """The bytes of each tensor of each epoch's second moments."""
    for epoch in range(1, len(store.moments) + 1):
        for _, moment in store.read_moments(epoch):
            yield moment.flatten().view(torch.uint8).numpy()


def _without(wanted: Fingerprints, others: Iterator[memoryview]) -> Fingerprints:
    """The fingerprints less those that occur in somebody else's records."""
    shared, pieces = [_NONE], set(wanted.pieces)
    for record in others:
        if len(record) >= BLOCK:
            shared.append(np.unique(wanted.blocks_in(record)[1]))
        whole = record.tobytes()
        pieces -= {piece for piece in pieces if piece in whole}
    blocks = np.setdiff1d(wanted.blocks, np.concatenate(shared))
    return replace(wanted, pieces=tuple(sorted(pieces)), blocks=blocks)


def _in_file(path: Path, wanted: Fingerprints) -> Iterator[Trace]:
    for start, data in _chunks(path):
        lead = min(start, LEAD)
        own = range(lead, lead + CHUNK)  # what begins elsewhere is the chunk's before or after
        blocks = wanted.blocks_in(data)[0] if len(data) >= BLOCK else _NONE
        found = [
            *((*span, "name") for span in wanted.names_in(data)),
            *((place, place + len(p), "numbers") for p in wanted.pieces for place in _places(p, data)),
            *_stretches([place for place in blocks.tolist() if place in own]),
        ]
        yield from (Trace(path, start - lead + a, b - a, what) for a, b, what in sorted(found) if a in own)


def _chunks(path: Path) -> Iterator[tuple[int, bytes]]:
    """(where it begins, CHUNK bytes with LEAD before them and WINDOW and more after) of a file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for start in range(0, size, CHUNK):
            file.seek(start - min(start, LEAD))
            yield start, file.read(min(start, LEAD) + CHUNK + 16 * WINDOW)  # names are shorter than that


def _stretches(places: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Places of blocks, ascending, joined where they touch."""
    begin = end = None
    for place in places:
        if begin is not None and place > end + BLOCK:
            yield begin, end, "numbers"
            begin = None
        begin, end = place if begin is None else begin, place + BLOCK
    if begin is not None:
        yield begin, end, "numbers"


def _places(piece: bytes, data: bytes) -> Iterator[int]:
    place = data.find(piece)
    while place >= 0:
        yield place
        place = data.find(piece, place + 1)


def _names(gone: Collection[str], kept: Collection[str]) -> tuple[tuple[bytes, ...], re.Pattern[bytes]]:
    """The ids between quotes as JSON has them, and those of PLAIN bytes or more as words of their own.

    Kept ids that hold a gone one come first, outside of the group, so that they are passed over.
    """
    quoted = sorted({json.dumps(i, ensure_ascii=escaped).encode() for i in gone for escaped in (True, False)})
    plain = sorted(i.encode() for i in gone if len(i.encode()) >= PLAIN)
    spared = sorted((k.encode() for k in kept if any(i in k for i in gone)), key=len, reverse=True)
    ways = [rb"(?<=[\[{,:\s])" + re.escape(q) + rb"(?=[\]},:\s])" for q in quoted]
    ways += [rb"(?<![\w\x80-\xff-])" + re.escape(i) + rb"(?![\w\x80-\xff-])" for i in plain]
    pattern = b"|".join([*map(re.escape, spared), b"(?P<name>" + b"|".join(ways) + b")"])
    return (*quoted, *plain), re.compile(pattern)


_NONE = np.zeros(0, np.uint64)


def _hashes(data: np.ndarray) -> np.ndarray:
    """A hash of every BLOCK bytes in a row, on the last axis: h_2k(i) = h_k(i) B^k + h_k(i + k), mod 2^64."""
    found, power, span = data.astype(np.uint64), BASE, 1
    while span < BLOCK:
        found = found[..., :-span] * np.uint64(power) + found[..., span:]
        power, span = power * power % 2**64, 2 * span
    return found


def _blocks(data: np.ndarray, stride: int) -> np.ndarray:
    """The hashes of the blocks at the beginning of every `stride` bytes, and of the last one."""
    if len(data) < BLOCK:
        return _NONE
    rows = np.concatenate([sliding_window_view(data, BLOCK)[::stride], data[None, -BLOCK:]])
    return _hashes(rows[~_repeats(rows)])[:, 0]


def _repeats(data: np.ndarray) -> np.ndarray:
    """Whether the bytes along the last axis are one number of up to four bytes again and again, or zeros.

    A zero has a sign, which says nothing.
    """
    return (data[..., :-4] == data[..., 4:]).all(-1) | (data & 0x7F == 0).all(-1)
