"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

PARTIAL = ".partial"  # suffix of a file that is being written
WRITE_BYTES = 1 << 20  # at a time: for more the kernel seeks large pages, memory that nobody has touched yet


@contextmanager
def replacing(path: Path) -> Iterator[FileIO]:
    """A new file that takes the path's place once it is finished; nothing is left of one that is not."""
    partial = path.with_suffix(PARTIAL)
    try:
        with open(partial, "wb", buffering=0) as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write every byte of it, wherever the file stands."""
    view, done = memoryview(data), 0
    while done < view.nbytes:
        done += file.write(view[done : done + WRITE_BYTES])
