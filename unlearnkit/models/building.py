"""Model folders in the user's cache that are built once, whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

from unlearnkit.packages import disk_error
from unlearnkit.paths import user_cache


def built_once(name: str, build: Callable[[Path], None]) -> Path:
    """The cached folder `name`, made by `build(empty folder)` if it is not there yet.

    The folder appears under its name only when `build` has returned. Of several processes one builds
    and the others wait. Raises ModelError when the disk is full.
    """
    models = user_cache() / "models"
    target, partial = models / name, models / f"{name}.partial"
    if target.is_dir():
        return target
    try:
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / f"{name}.lock"):
            if not target.is_dir():
                shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
                partial.mkdir()
                try:
                    build(partial)
                    os.replace(partial, target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        # transformers raises OSErrors without a number for other reasons.
        if getattr(error, "errno", None) or "No space left" in str(error):
            raise disk_error(error, models) from error
        raise
    return target
