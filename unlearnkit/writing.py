"""How texts of any script are compared, counted and joined.

Two texts are the same when their NFC forms are (Unicode Standard Annex 15): "é" may be one code point or two.
Words are runs of letters, numbers and the combining marks on them, which tell words apart in many scripts.
Scripts without spaces between words have no such runs; their unit here is what a reader takes for one
character, the extended grapheme cluster (UAX 29).
"""

import unicodedata

import regex

# By the letters themselves (Script_Extensions), so that marks shared between Japanese scripts count too.
SPACELESS = "".join(
    rf"\p{{scx={script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar")
)
JOINERS = "\u200c\u200d"  # invisible; they shape letters within a word
_UNITS = regex.compile(
    rf"(?=[[\p{{L}}\p{{N}}\p{{M}}]&&[{SPACELESS}]])\X"  # some Burmese vowel signs are clusters of their own
    rf"|[[\p{{L}}\p{{N}}]--[{SPACELESS}]](?:[\p{{M}}{JOINERS}]|[[\p{{L}}\p{{N}}]--[{SPACELESS}]])*",
    regex.V1,
)
_LAST_LETTER = regex.compile(r"(?r)\p{L}")
_SPACELESS_LETTER = regex.compile(f"[{SPACELESS}]")


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): "é" as one code point, however it was typed."""
    return unicodedata.normalize("NFC", text)


def units(text: str) -> list[str]:
    """The words of a text, in lower case and NFC; grapheme clusters where the script has no spaces.

    On ASCII text: the runs of letters and digits.
    """
    return _UNITS.findall(composed(text).lower())


def join(prompt: str, answer: str) -> str:
    """Prompt and answer as one text, with a space between them unless the prompt's script has none.

    Its last letter decides: Chinese, Japanese, Yi, Thai, Lao, Khmer and Burmese take no space.
    """
    letter = _LAST_LETTER.search(prompt)
    spaced = prompt and answer and not (letter and _SPACELESS_LETTER.match(letter[0]))
    return f"{prompt} {answer}" if spaced else prompt + answer
