"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial"  # suffix of a file that is being written


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Where to write what takes the path's place once the block ends; nothing is left of a block that fails.

    The place, NAME.PID.partial beside it, is this process's own: others may replace the same file meanwhile.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace a file's content; OSError (a full disk) leaves the old one."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """The same for text, as UTF-8 with the line ends it has."""
    write_bytes(path, text.encode())
