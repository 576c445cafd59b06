"""When two texts are the same to people although their code points differ."""

import unicodedata


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): "é" as one code point, however it was typed."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """The text in lower case and composed form, with single spaces: what two copies of one fact share."""
    return " ".join(composed(composed(text).casefold()).split())
