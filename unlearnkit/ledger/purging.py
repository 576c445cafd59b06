"""Removing an example's records for good: the ledger itself holds what must be forgotten."""

from collections.abc import Sequence

import numpy as np

from unlearnkit.errors import LedgerError
from unlearnkit.ledger.shard import TORCH, Piece, Shard, write
from unlearnkit.ledger.store import Store


def purge(store: Store, ids: Sequence[str]) -> int:
    """Rewrite every shard that holds one of the ids without its rows; returns the bytes freed.

    The rewritten shards are complete before the index names them, and the old ones are deleted after: an
    interruption leaves either the old ledger or the new one, and `verify` names any file left over. A full
    disk is a LedgerError and leaves the old one. The ids leave the index too, with the digests of their texts
    and the one of all texts. Every epoch's second moments are deleted, whoever the ids are, and so are the
    weights that the training ended in, if they are kept here: both hold traces of every example, and nobody's
    share can be taken out; `adam_replay` works until the first purge, and not after. What it does not do:
    overwrite the freed disk blocks (that is the file system's), or touch weights that are kept elsewhere.
    """
    gone, before = set(ids), _size(store)
    try:
        kept = [_without(store, entry, gone) for entry in store.shards]
        store.shards, store.moments = [entry for entry in kept if entry["examples"]], []
        store.checkpoint = []
        _leave_out(store.head, gone)
        store.publish(store.epochs, **store.progress)
    except OSError as error:
        raise LedgerError(
            f"the purged ledger could not be written to {store.path}: {error.strerror}. Nothing is purged "
            "yet: free space there and purge again"
        ) from error
    finally:
        for path in Store.load(store.path).unnamed():  # of whichever ledger did not get published
            path.unlink()
    return before - _size(store)


def _size(store: Store) -> int:
    """Bytes of all that a purge may free."""
    sealed = [m["seal"] for m in store.moments] + store.checkpoint[1:]
    return sum(s["bytes"] for s in store.shards) + sum(size for size, _ in sealed)


def _leave_out(head: dict, gone: set[str]) -> None:
    """Take ids out of an index's description, and what was computed of their texts."""
    head["expected"] = [i for i in head["expected"] if i not in gone]
    head["texts"] = {i: text for i, text in head.get("texts", {}).items() if i not in gone}
    forgotten = head.get("forgotten", {})
    head["forgotten"] = {place: [i for i in ids if i not in gone] for place, ids in forgotten.items()}
    head["recipe"].pop("data", None)
    head["purged"] = True  # that somebody's records went, and not whose


def _without(store: Store, entry: dict, gone: set[str]) -> dict:
    """The index entry of a shard without these examples, written anew if it holds any of them."""
    places = [k for k, example in enumerate(entry["examples"]) if example not in gone]
    if len(places) == len(entry["examples"]):
        return entry
    return _rewrite(store, entry, places) if places else {**entry, "examples": []}


def _rewrite(store: Store, entry: dict, places: Sequence[int]) -> dict:
    """A new shard with the records at `places` only; returns its index entry."""
    shard = Shard(store.path / entry["file"], entry)
    pieces = []
    for tensor, name in enumerate(shard.names):
        header = shard.header[name]
        piece = Piece(name, shard.rows_of[name], TORCH[header["dtype"]], header["shape"][1])
        piece.views = [shard.raw(name, [k]) for k in places]
        piece.exponents = [int(shard.exponents[tensor, k]) for k in places]
        pieces.append(piece)
    lengths = np.stack([shard.lengths("live")[places], shard.lengths("targets")[places]], 1).tolist()
    name = entry["file"].replace(".safetensors", "p.safetensors")
    written = write(store.path / name, pieces, lengths)
    told = {key: [entry[key][k] for k in places] for key in ("examples", "steps", "rates")}
    return {**entry, **written, "file": name, **told}
