"""Removing an example's records for good: the ledger itself holds what must be forgotten."""

from collections.abc import Sequence

import numpy as np

from unlearnkit.ledger.shard import TORCH, Piece, Shard, write
from unlearnkit.ledger.store import Store


def purge(store: Store, ids: Sequence[str]) -> int:
    """Rewrite every shard that holds one of the ids without its rows; returns the bytes freed.

    The rewritten shards are complete before the index names them, and the old ones are deleted after: an
    interruption leaves either the old ledger or the new one. The ids leave the index too. What it does not
    do: overwrite the freed disk blocks (that is the file system's), or touch trained weights, which hold
    traces of every example (the training checkpoint beside the ledger among them).
    """
    gone, before = set(ids), sum(s["bytes"] for s in store.shards)
    stale, kept = [], []
    for entry in store.shards:
        places = [k for k, example in enumerate(entry["examples"]) if example not in gone]
        if len(places) == len(entry["examples"]):
            kept.append(entry)
            continue
        stale.append(store.path / entry["file"])
        if places:
            kept.append(_rewrite(store, entry, places))
    store.shards = kept
    store.head["expected"] = [i for i in store.head["expected"] if i not in gone]
    store.publish(store.epochs, **store.progress)
    for path in stale:
        path.unlink()
    return before - sum(s["bytes"] for s in store.shards)


def _rewrite(store: Store, entry: dict, places: Sequence[int]) -> dict:
    """A new shard with the records at `places` only; returns its index entry."""
    shard = Shard(store.path / entry["file"], entry)
    pieces = []
    for tensor, name in enumerate(shard.names):
        header = shard.header[name]
        piece = Piece(name, shard.rows_of[name], TORCH[header["dtype"]], header["shape"][1])
        piece.views = [memoryview(shard.raw(name, k, k)) for k in places]
        piece.exponents = [int(shard.exponents[tensor, k]) for k in places]
        pieces.append(piece)
    lengths = np.stack([shard.lengths("live")[places], shard.lengths("targets")[places]], 1).tolist()
    name = entry["file"].replace(".safetensors", "p.safetensors")
    written = write(store.path / name, pieces, lengths)
    steps = [entry["steps"][k] for k in places]
    examples = [entry["examples"][k] for k in places]
    return {**entry, **written, "file": name, "examples": examples, "steps": steps}
