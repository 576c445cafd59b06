"""Model folders in the user's cache that are built once, whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

from unlearnkit.packages import disk_error
from unlearnkit.paths import user_cache

RECIPE = "recipe.txt"  # in a built folder: the digest of the recipe that made it


def built_once(name: str, build: Callable[[Path], None], recipe: str = "") -> Path:
    """The cached folder `name`, made by `build(empty folder)` if it is not there or of another recipe.

    `recipe` is a digest of all that the result depends on; without one any folder of that name will do. The
    folder appears under its name only when `build` has returned; until then an older one stays. Of several
    processes one builds and the others wait. Raises ModelError when the disk is full.
    """
    models = user_cache() / "models"
    target, partial = models / name, models / f"{name}.partial"
    if _is_built(target, recipe):
        return target
    try:
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / f"{name}.lock"):
            if not _is_built(target, recipe):
                shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
                partial.mkdir()
                try:
                    build(partial)
                    if recipe:
                        (partial / RECIPE).write_text(recipe)
                    shutil.rmtree(target, ignore_errors=True)  # of another recipe
                    os.replace(partial, target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        # transformers raises OSErrors without a number for other reasons.
        if getattr(error, "errno", None) or "No space left" in str(error):
            raise disk_error(error, models) from error
        raise
    return target


def _is_built(target: Path, recipe: str) -> bool:
    if not (recipe and target.is_dir()):
        return target.is_dir()
    made_by = target / RECIPE
    return made_by.is_file() and made_by.read_text() == recipe
