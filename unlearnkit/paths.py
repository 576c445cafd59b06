"""Where things live on disk. Every other module asks here."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def user_cache() -> Path:
    """Downloaded packages and converted models: shared by all clones of one user."""
    return Path(os.environ.get("UNLEARNKIT_CACHE", Path.home() / ".cache" / "unlearnkit"))


def run_cache() -> Path:
    """Trained models, ledgers and observations of this checkout (ignored by git)."""
    return Path(os.environ.get("UNLEARNKIT_RUNS", ROOT / "cache"))


def build() -> Path:
    """Executed notebooks, figures and the report of this checkout (ignored by git)."""
    return Path(os.environ.get("UNLEARNKIT_BUILD", ROOT / "build"))
