"""Whether a ledger is whole: all of its bits, records and epochs, and no file more."""

from collections import Counter

from unlearnkit.errors import LedgerError
from unlearnkit.ledger.reader import Reader


def require(reader: Reader) -> None:
    """Read everything that the index names; LedgerError names the file or example that is not right."""
    store = reader.store
    for number, entry in enumerate(store.shards):
        shard = reader.shard(number)
        for name in shard.names:
            for place in range(len(entry["examples"])):
                shard.raw(name, [place])
    for epoch in range(1, len(store.moments) + 1):
        for _ in store.read_moments(epoch):
            pass
    if store.checkpoint:
        store.read_checkpoint()
    expected_epochs = store.head["recipe"].get("epochs", store.epochs)
    if store.epochs < expected_epochs:
        raise LedgerError(
            f"ledger {store.path} is incomplete: {store.epochs} of {expected_epochs} epochs. "
            "Call fine_tune again with the same recipe: it resumes"
        )
    counts = Counter(example for example, _ in reader.where)
    for example in store.head["expected"]:
        for epoch in range(1, store.epochs + 1):
            if not reader.is_staged and (example, epoch) not in reader.where:
                raise LedgerError(f"ledger {store.path} lacks example {example!r} in epoch {epoch}")
        if reader.is_staged and counts[example] != store.epochs // 2:
            raise LedgerError(
                f"ledger {store.path} has example {example!r} in {counts[example]} of {store.epochs} epochs, "
                "and not in half of them"
            )
    if left := store.unnamed():
        raise LedgerError(
            f"ledger {store.path} holds {left[0].name}, which its index does not name: an "
            "interrupted training or purge left it, perhaps with records that should be gone. Delete it"
        )
