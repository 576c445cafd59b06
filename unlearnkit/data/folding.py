"""When two texts are the same to people although their code points differ."""

from unlearnkit.writing import composed


def folded(text: str) -> str:
    """The text in lower case and composed form, with single spaces: what two copies of one fact share."""
    return " ".join(composed(composed(text).casefold()).split())
