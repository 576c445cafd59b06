"""The step with vmap's dense gradients once more, in a process that keeps the memory it has freed.

Who makes gigabytes anew in every step is helped most by that. `make reproduce` asks for it; others do not
(`timing.freed_memory`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from unlearnkit.bench import sides
from unlearnkit.bench.setting import Options, Setting
from unlearnkit.bench.timing import chosen, in_child, interleaved, provenance, scratch, summary

KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}  # as in the Makefile
SIDES = (sides.PLAIN, sides.OURS["float16"], sides.VMAP)


def run(options: Options) -> dict:
    """Seconds a step of the plain step, the default ledger and vmap."""
    with keeping():
        return in_child(timed, options)


@contextmanager
def keeping() -> Iterator[None]:
    """Processes that are started meanwhile keep what they free: glibc reads its settings once."""
    before = dict(os.environ)
    os.environ.update(KEEP)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def timed(options: Options) -> dict:
    """The sides' seconds in this process."""
    setting = Setting.make(options)
    with scratch() as folder:
        every = sides.every(setting, folder)
        picked = chosen({name: every[name] for name in SIDES}, options.only)
        seconds, missing = interleaved({sides.PLAIN: every[sides.PLAIN]} | picked, options.rounds)
    return summary(seconds, sides.PLAIN) | {"missing": missing, "machine": provenance()}
