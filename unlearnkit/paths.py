"""Where things live on disk. Every other module asks here."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from unlearnkit.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


def user_cache() -> Path:
    """Downloaded packages and converted models: shared by all clones of one user."""
    given = os.environ.get("UNLEARNKIT_CACHE")
    return Path(given) if given else expanded("~/.cache/unlearnkit")


def user_config() -> Path:
    """What belongs to a user and is not to be lost: the key that they sign with."""
    return expanded("~/.config/unlearnkit")


def run_cache() -> Path:
    """Trained models, ledgers and observations of this checkout (ignored by git)."""
    return Path(os.environ.get("UNLEARNKIT_RUNS") or ROOT / "cache")


def build() -> Path:
    """Executed notebooks, figures and the report of this checkout (ignored by git)."""
    return Path(os.environ.get("UNLEARNKIT_BUILD") or ROOT / "build")


def runs_below(folder: Path) -> AbstractContextManager[None]:
    """Meanwhile what runs train and build goes below that folder."""
    return variables({"UNLEARNKIT_RUNS": str(folder / "cache"), "UNLEARNKIT_BUILD": str(folder / "build")})


@contextmanager
def variables(told: Mapping[str, str]) -> Iterator[None]:
    """Meanwhile these variables of the environment have these values, for processes begun here, too."""
    before = {name: value for name, value in os.environ.items() if name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            del os.environ[name]
        os.environ.update(before)


def expanded(path: str | Path) -> Path:
    """The path with ~ as the home folder. ConfigError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{path}: this user has no home folder. Set HOME, or UNLEARNKIT_CACHE to a folder for models"
        ) from None


def require_writable(folder: Path, variable: str) -> None:
    """ConfigError unless files can be put into the folder, or it can be made. Makes nothing."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        what = "is not writable" if there.is_dir() else "is not a folder"
        raise ConfigError(f"cannot write to {folder}: {there} {what}. Set {variable} to a folder elsewhere")
