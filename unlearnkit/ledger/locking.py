"""One process at a time writes to a ledger. Readers need no lock: only what the index names counts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from unlearnkit.errors import LedgerError


@contextlib.contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """Hold the ledger folder at `path` for writing, by the file PATH.lock beside it, which stays.

    LedgerError at once, not after waiting, where another holds it. The lock ends with the process.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(f"{path}.lock").acquire(timeout=0)
    except Timeout:
        raise LedgerError(
            f"another process is writing to ledger {path}: wait for it or end it, or choose another folder"
        ) from None
    except OSError as error:
        raise LedgerError(f"ledger folder {path} cannot be made: {error.strerror}") from None
    with held:
        yield
