"""A user's facts in JSON-lines files, and examples back to disk.

A line of a user's file is one JSON object. It needs `prompt` and `answer`, or `text` alone, which is cut into
a prompt (the first half of its words) and an answer (the others). Optional: `id` (default "line-N"), `person`
(default ""), `split` (default "retain"), `attribute`, `contradiction`, and the lists `paraphrases` and
`mentions`. Ids and names are read in Unicode's composed form, so that a request finds them however it was
typed. The loaders read a whole file before they complain, and then name every bad line.
"""

import dataclasses
import json
import re
from pathlib import Path

from unlearnkit import files, paths
from unlearnkit.data import records
from unlearnkit.data.example import Example
from unlearnkit.data.tofu import NOT_TRAINED, is_tofu, load_tofu
from unlearnkit.errors import DataError
from unlearnkit.writing import composed

DEFAULT_SPLIT = "retain"
MEANT = ("forget", "retain", "neighbour", "holdout")  # splits that mean something to this package
STRINGS = ("id", "person", "prompt", "answer", "split", "attribute", "contradiction", "text")
LISTS = ("paraphrases", "mentions")
NAMES = ("id", "person", "split", "attribute", "mentions")  # one line each
REQUIRED = ("prompt", "answer")
MAY_BE_EMPTY = ("person", "attribute", "contradiction")


def load(path: str | Path) -> list[Example]:
    """A user's facts in either form: by `load_jsonl`, or by `load_tofu` for a file or folder of TOFU's.

    Of a folder without real_authors and world_facts, which no model is taught. DataError as of these, and for
    an empty path.
    """
    if not str(path).strip():
        raise DataError("the path of the data is empty, which would mean the current folder: name a file")
    path = paths.expanded(path)
    if path.is_dir():
        return [e for e in load_tofu(path) if e.split not in NOT_TRAINED.values()]
    return load_tofu(path) if is_tofu(path) else load_jsonl(path)


def load_jsonl(path: str | Path) -> list[Example]:
    """The examples of a user's JSON-lines file (see the module's description for the fields).

    DataError lists up to 20 faults with their line numbers: malformed JSON, empty lines, missing, empty,
    wrongly typed or unknown fields, answers without a letter or digit, characters that no text can hold,
    splits that are nearly one of `MEANT`, duplicate ids; or says that the file is missing, empty, not UTF-8
    or one JSON array.
    """
    path = Path(path)
    numbered = [(number, _example(record, number)) for number, record in records.read(path, _faults)]
    ids = ((number, example.id) for number, example in numbered)
    faults = [
        f"line {number}: id {id!r} was already used in line {first}; give it another"
        for number, id, first in records.repeated(ids)
    ]
    records.raise_if(faults, path)
    return [example for _, example in numbered]


def save_jsonl(examples: list[Example], path: str | Path) -> None:
    """Write examples so that ``load_jsonl`` returns equal ones; an older file is replaced whole or kept.

    DataError names the first that it would not return as it is, and a folder that is not there.
    """
    path = Path(path)
    lines = [json.dumps(dataclasses.asdict(example), ensure_ascii=False) for example in examples]
    if fault := _unreadable(examples, lines):
        raise DataError(f"cannot write {path}: {fault}")
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        files.write_text(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def _unreadable(examples: list[Example], lines: list[str]) -> str:
    """The first reason why these lines would not be read back as the examples; "" where there is none."""
    told: set[str] = set()
    for example, line in zip(examples, lines, strict=True):
        record, name = json.loads(line), f"example {example.id!r}"
        if faults := _faults(record):
            return f"{name}: {faults[0]}"
        for key, read in vars(_example(record, 0)).items():
            if (given := getattr(example, key)) != read:
                return f"{name}: {key!r} is {given!r}, which would be read as {read!r}: write it so"
        if example.id in told:
            return f"{name} stands there twice: give one another id"
        told.add(example.id)
    return "" if examples else "there are no examples"


def _faults(record: dict) -> list[str]:
    """What is wrong with one object of a user's file."""
    faults = []
    if unknown := sorted(set(record) - {*STRINGS, *LISTS}):
        faults.append(f"unknown field {_quoted(unknown)}; known are {', '.join([*STRINGS, *LISTS])}")
    if "text" in record and (both := [field for field in REQUIRED if field in record]):
        faults.append(f"'text' stands beside {_quoted(both)}: give either 'text' or 'prompt' and 'answer'")
    elif "text" not in record and (missing := [field for field in REQUIRED if field not in record]):
        faults.append(f"missing {_quoted(missing)} (or 'text' instead of both)")
    for field in (field for field in STRINGS if field in record):
        faults += [f"{field!r} {fault}" for fault in _string_faults(field, record[field])]
    for field in LISTS:
        value = record.get(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            faults.append(f"{field!r} must be a list of non-empty strings")
        elif found := list(filter(None, (records.text_fault(item, field in NAMES) for item in value))):
            faults.append(f"{field!r} {found[0]}")
    return faults


def _string_faults(field: str, value: object) -> list[str]:
    if not isinstance(value, str):
        return [f"must be a string, not {type(value).__name__}"]
    if field not in MAY_BE_EMPTY and not value.strip(" ."):
        return ["is empty"]
    if fault := records.text_fault(value.strip(), field in NAMES):
        return [fault]
    if field == "split" and (meant := _meant(value)):
        return [f"is {value!r}: write {meant!r} if that is meant, or another word"]
    if field == "text" and len(_words(value)) == 1:
        return ["needs two words or more, to be split into prompt and answer"]
    if field in ("answer", "text") and not records.has_words(_answer({field: value})):
        where = " in its second half, the answer" if field == "text" else ""
        return [f"has no letter or digit{where}: what a model says could not be compared with it"]
    return []


def _meant(split: str) -> str:
    """The split of `MEANT` that differs from this one in case, spaces, hyphens or underscores; "" for none.

    A hold-out under another name would be taught.
    """
    plain = re.sub(r"[\W_]", "", split).casefold()
    return plain if plain in MEANT and split.strip() != plain else ""


def _answer(record: dict) -> str:
    """The answer of an object that has one, or whose text ends in it."""
    if "text" not in record:
        return record["answer"]
    words = _words(record["text"])
    return " ".join(words[len(words) // 2 :])


def _example(record: dict, number: int) -> Example:
    """A checked object as an Example."""
    fields = {key: value.strip() for key, value in record.items() if key in STRINGS and key != "text"}
    if "text" in record:
        words = _words(record["text"])
        fields |= {"prompt": " ".join(words[: len(words) // 2]), "answer": _answer(record)}
    for field in fields.keys() & {"answer", "contradiction"}:
        fields[field] = fields[field].removesuffix(".")
    fields |= {field: composed(fields[field]) for field in fields.keys() & {*NAMES}}
    lists = {"paraphrases": tuple(record.get("paraphrases", ()))}
    lists["mentions"] = tuple(map(composed, record.get("mentions", ())))
    return Example(**({"id": f"line-{number}", "person": "", "split": DEFAULT_SPLIT} | fields), **lists)


def _words(text: str) -> list[str]:
    return text.strip().removesuffix(".").split()


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
