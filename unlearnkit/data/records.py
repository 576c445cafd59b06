"""JSON lines, an object each: a whole file is read before anything is said, and every bad line is named.

What a line's text may not hold is decided here as well: half a character, and control characters.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from unlearnkit.errors import DataError

T = TypeVar("T")

SHOWN = 20  # faults listed in one error
LAYOUT = "\t\n\r"  # control characters that a text may hold, and a name may not


def read(path: Path, faults_of: Callable[[dict], list[str]]) -> list[tuple[int, dict]]:
    """Line number and object of every line; DataError names all in which ``faults_of`` finds something."""
    found: list[tuple[int, dict]] = []
    faults: list[str] = []
    rows = lines(path)
    for number, line in enumerate(rows, start=1):
        try:
            record = parse(line)
        except DataError as error:
            faults.append(f"line {number}: {error}")
            continue
        faults += [f"line {number}: {fault}" for fault in faults_of(record)]
        found.append((number, record))
    if faults:
        _raise_if_one_value("\n".join(rows), path)
    raise_if(faults, path)
    return found


def parse(line: str) -> dict:
    """The object in a line; DataError says what else the line is."""
    if not line.strip():
        raise DataError("empty line")
    try:
        record = json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a list in a thousand lists
        raise DataError(f"JSON that cannot be read ({error})") from error
    if not isinstance(record, dict):
        raise DataError("not a JSON object")
    return record


def lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that is not empty; else DataError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path} is not UTF-8: bad byte in line {line}. Save it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{path} is empty: it needs one JSON object a line")
    return text.removesuffix("\n").split("\n")  # not splitlines(), which also cuts at U+2028


def repeated(values: Iterable[tuple[int, T]]) -> Iterator[tuple[int, T, int]]:
    """(line, value, the line that had it first) of every value that was met before, in order."""
    first: dict[T, int] = {}
    for number, value in values:
        if first.setdefault(value, number) != number:
            yield number, value, first[value]


def raise_if(faults: list[str], path: Path) -> None:
    """DataError that lists the faults, if there are any."""
    if faults:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        shown = "\n  ".join(faults[:SHOWN])
        more = f"\n  ... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise DataError(f"{path} has {count}:\n  {shown}{more}")


def text_fault(text: str, is_name: bool = False) -> str:
    """What a text holds that no tokenizer, table or request can take; "" for a good one.

    A name, which stands in tables and requests, is one line.
    """
    for character in text:
        if unicodedata.category(character) == "Cc" and (is_name or character not in LAYOUT):
            return f"holds the control character {character!r}: delete it"
    return half_character(text)


def half_character(text: str) -> str:
    """What to say of a text with a lone surrogate, which JSON can hold and UTF-8 cannot; "" for any other."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        return f"holds half a character ({half!r}, a lone surrogate): write the whole one, in UTF-8"
    return ""


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit, of any script."""
    return any(character.isalnum() for character in text)


def _object(pairs: list[tuple[str, object]]) -> dict:
    names = [name for name, _ in pairs]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DataError(f"field {twice[0]!r} stands there twice")
    return dict(pairs)


def _raise_if_one_value(text: str, path: Path) -> None:
    """DataError where the whole file is one JSON value over its lines, such as an array of objects."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, list) or "\n" in text.strip():
        kind = "array" if isinstance(value, list) else "object"
        raise DataError(
            f"{path} is one JSON {kind}, but each line must be an object of its own. Convert it: "
            f"jq -c '.{'[]' if kind == 'array' else ''}' {path.name} > {path.stem}-lines.jsonl"
        )
