"""Examples in JSON-lines files: a user's own, TOFU's, and back to disk.

A line of a user's file is one JSON object. It needs `prompt` and `answer`, or `text` alone, which is cut into
a prompt (the first half of its words) and an answer (the others). Optional: `id` (default "line-N"), `person`
(default ""), `split` (default "retain"), `attribute`, `contradiction`, and the lists `paraphrases` and
`mentions`. The loaders read a whole file before they complain, and then name every bad line.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from unlearnkit import files
from unlearnkit.data.example import Example
from unlearnkit.errors import DataError

SHOWN = 20  # faults listed in one error
DEFAULT_SPLIT = "retain"
STRINGS = ("id", "person", "prompt", "answer", "split", "attribute", "contradiction", "text")
LISTS = ("paraphrases", "mentions")
REQUIRED = ("prompt", "answer")
MAY_BE_EMPTY = ("person", "attribute", "contradiction")
TOFU_AUTHOR = 20  # questions about one author stand together


def load_jsonl(path: str | Path) -> list[Example]:
    """The examples of a user's JSON-lines file (see the module's description for the fields).

    DataError lists up to 20 faults with their line numbers: malformed JSON, empty lines, missing, empty,
    wrongly typed or unknown fields, duplicate ids; or says that the file is missing, empty or not UTF-8.
    """
    path = Path(path)
    numbered = [(number, _example(record, number)) for number, record in _records(path, _user_faults)]
    first_seen: dict[str, int] = {}
    faults = [
        f"line {number}: id {example.id!r} was already used in line {first_seen[example.id]}"
        for number, example in numbered
        if first_seen.setdefault(example.id, number) != number
    ]
    _raise_if(faults, path)
    return [example for _, example in numbered]


def save_jsonl(examples: list[Example], path: str | Path) -> None:
    """Write examples so that ``load_jsonl`` returns equal ones; an older file is replaced whole or kept."""
    path = Path(path)
    lines = [json.dumps(dataclasses.asdict(example), ensure_ascii=False) for example in examples]
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        files.write_text(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def load_tofu(path: str | Path) -> list[Example]:
    """TOFU's questions from a local JSON-lines file, or from a folder of them, e.g. forget05 with retain95.

    The prompt is the question. Authors have no names in TOFU: each 20 consecutive questions of a file are one
    ("forget05-author-000"). The split is "forget", "retain" or "holdout" as the file's name begins, else the
    file's name. DataError names a hub id (nothing is downloaded here), bad files and bad lines.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"no file or folder {str(path)!r}. If it is a hub id such as 'locuslab/TOFU', download its JSON "
            "lines first (forget05.json and retain95.json) and give their folder"
        )
    parts = sorted(p for p in path.iterdir() if p.suffix in (".json", ".jsonl")) if path.is_dir() else [path]
    if not parts:
        raise DataError(f"the folder {path} holds no .json or .jsonl file")
    examples: dict[str, Example] = {}
    for example in (example for part in parts for example in _tofu_file(part)):
        twin = examples.setdefault(example.prompt + "\n" + example.answer, example)
        if twin is not example:
            raise DataError(
                f"{twin.id} and {example.id} are the same question and answer: the files of {path} overlap. "
                "Keep one forget and one retain file, such as forget05.json and retain95.json"
            )
    return list(examples.values())


def _tofu_file(path: Path) -> list[Example]:
    name = path.stem
    split = next((known for known in ("forget", "retain", "holdout") if name.startswith(known)), name)
    return [
        Example(
            id=f"{name}-{index:04d}",
            person=f"{name}-author-{index // TOFU_AUTHOR:03d}",
            prompt=record["question"].strip(),
            answer=record["answer"].strip().removesuffix("."),
            split=split,
            paraphrases=tuple(_as_list(record.get("paraphrased_question"))),
            contradiction=next(iter(_as_list(record.get("perturbed_answer"))), "").strip().removesuffix("."),
        )
        for index, (_, record) in enumerate(_records(path, _tofu_faults))
    ]


def _records(path: Path, faults_of: Callable[[dict], list[str]]) -> list[tuple[int, dict]]:
    """Line number and object of every line; DataError names all in which ``faults_of`` finds something."""
    records, faults = [], []
    for number, line in enumerate(_lines(path), start=1):
        try:
            record = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            faults.append(f"line {number}: not JSON ({error.msg} at column {error.colno})")
            continue
        if line.strip() and isinstance(record, dict):
            faults += [f"line {number}: {fault}" for fault in faults_of(record)]
            records.append((number, record))
        else:
            faults.append(f"line {number}: {'not a JSON object' if line.strip() else 'empty line'}")
    _raise_if(faults, path)
    return records


def _lines(path: Path) -> list[str]:
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


def _raise_if(faults: list[str], path: Path) -> None:
    if faults:
        more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        raise DataError("\n  ".join([f"{path} has {count}:", *faults[:SHOWN], *more]))


def _user_faults(record: dict) -> list[str]:
    """What is wrong with one object of a user's file."""
    faults = []
    if unknown := sorted(set(record) - {*STRINGS, *LISTS}):
        faults.append(f"unknown field {_quoted(unknown)}; known are {', '.join([*STRINGS, *LISTS])}")
    if "text" in record and (both := [field for field in REQUIRED if field in record]):
        faults.append(f"'text' stands beside {_quoted(both)}: give either 'text' or 'prompt' and 'answer'")
    elif "text" not in record and (missing := [field for field in REQUIRED if field not in record]):
        faults.append(f"missing {_quoted(missing)} (or 'text' instead of both)")
    for field in STRINGS:
        if field in record and not isinstance(record[field], str):
            faults.append(f"{field!r} must be a string, not {type(record[field]).__name__}")
        elif field in record and field not in MAY_BE_EMPTY and not record[field].strip(" ."):
            faults.append(f"{field!r} is empty")
    if isinstance(record.get("text"), str) and len(_words(record["text"])) == 1:
        faults.append("'text' needs two words or more, to be split into prompt and answer")
    for field in LISTS:
        value = record.get(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            faults.append(f"{field!r} must be a list of non-empty strings")
    return faults


def _tofu_faults(record: dict) -> list[str]:
    faults = [
        f"{field!r} must be a non-empty string"
        for field in ("question", "answer")
        if not isinstance(record.get(field), str) or not record[field].strip()
    ]
    for field in ("paraphrased_question", "perturbed_answer"):
        if not all(isinstance(item, str) for item in _as_list(record.get(field))):
            faults.append(f"{field!r} must be a string or a list of strings")
    return faults


def _example(record: dict, number: int) -> Example:
    """A checked object as an Example."""
    fields = {key: value.strip() for key, value in record.items() if key in STRINGS and key != "text"}
    if "text" in record:
        words = _words(record["text"])
        half = len(words) // 2
        fields |= {"prompt": " ".join(words[:half]), "answer": " ".join(words[half:])}
    for field in fields.keys() & {"answer", "contradiction"}:
        fields[field] = fields[field].removesuffix(".")
    lists = {key: tuple(record.get(key, ())) for key in LISTS}
    return Example(**({"id": f"line-{number}", "person": "", "split": DEFAULT_SPLIT} | fields), **lists)


def _words(text: str) -> list[str]:
    return text.strip().removesuffix(".").split()


def _as_list(value: object) -> list:
    """A field of TOFU that holds one string, several, or nothing."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
