"""The machine that computes: what it is, and the memory of this process. Imports no torch."""

import contextlib
import ctypes
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from unlearnkit import paths
from unlearnkit.devices import CPU, described


@cache
def describe(device: str = CPU) -> dict[str, str]:
    """What computes here: commit of the code, what is registered in it, processor or GPU, versions."""
    from unlearnkit import claims  # here: it loads what tests, and the report needs none of it

    versions = {package: version(package) for package in ("torch", "transformers")}
    versions |= {} if device == CPU else {"device": described(device)}
    return {
        "commit": _commit(),
        "registered": claims.digest(),
        "processor": _processor(),
        "python": platform.python_version(),
    } | versions


def _commit() -> str:
    """Of the code; "" outside of a clone, or where there is no git."""
    command = ["git", "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        return subprocess.run(
            command, cwd=paths.ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    return ""


def _processor() -> str:
    """Its name as the kernel tells it (Linux), or as Python does."""
    try:
        return Path("/proc/cpuinfo").read_text().split("model name")[1].split("\n")[0].strip(" \t:")
    except (OSError, IndexError):
        return platform.processor()


def reset_peak_memory() -> None:
    """Start the kernel's high-water mark of this process anew, where it allows that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak resident bytes since the reset (or since the start of the process)."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def return_memory() -> None:
    """Hand freed memory back, which glibc is told to keep (Makefile), so that each step's peak is its own."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
