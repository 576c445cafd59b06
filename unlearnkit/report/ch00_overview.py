"""Chapter 00: words for times, and the warning beside a text that is not so."""

from IPython.display import Markdown

from unlearnkit.report import tables


def unless(so: bool, text: str) -> Markdown | None:
    """Nothing where what the text says is so in this run; else a warning to be shown beside the text."""
    return None if so else Markdown(f"> ⚠ **Not so here:** {text}.")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if not seconds >= 90:
        return f"{tables.number(seconds, '.0f')} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
