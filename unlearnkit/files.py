"""Files written whole or not at all: under another name first, then moved into place."""

import contextlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

PARTIAL = ".partial"  # suffix of a file that is being written
WRITE_BYTES = 1 << 20  # at a time: for more the kernel seeks large pages, memory that nobody has touched yet


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to instead, which becomes `path` when the block ends, and goes when it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a binary file whole."""
    with replacing(path) as partial, partial.open("wb", buffering=0) as file:
        write_all(file, data)


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write every byte of it, wherever the file stands."""
    view, done = memoryview(data), 0
    while done < view.nbytes:
        done += file.write(view[done : done + WRITE_BYTES])
