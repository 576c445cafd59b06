"""What the quick and default runs and the tests take from the network, or build once: all of it, ahead.

After `fetch_all` they need no network. The long pretraining of gpt2-tiny is not among it, since no test needs
it: the run that asks for that model builds it, from texts that are.
"""

from collections.abc import Iterator
from pathlib import Path

from unlearnkit import data, models, paths, semantic
from unlearnkit.data import text

MODELS = (
    *("smollm2-135m", "gpt2-tiny", "gpt2-tiny-pretrained-quick"),
    *("neox-tiny", "neox-tiny-pretrained", "llama-tiny", "llama-tiny-pretrained"),
)


def fetch_all() -> Iterator[str]:
    """Fetch or build what is missing from the user's cache; a line of name, size and place for each thing.

    Raises ModelError when something is neither cached nor within reach, or the disk is full.
    """
    data.utility_text("eval")
    yield _line("encyclopedia articles, cleaned", paths.user_cache() / "texts" / text.CLEANED)
    yield _line("gpt2 tokenizer", Path(models.gpt2_tokenizer().name_or_path))
    yield _line("sentence similarity (MiniLM)", semantic.fetch())
    for name in MODELS:
        yield _line(name, models.fetch(name))
    yield _line("everything in the user's cache", paths.user_cache())


def _line(name: str, path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{name:32} {sum(file.stat().st_size for file in files) / 1e6:8.1f} MB  {path}"
