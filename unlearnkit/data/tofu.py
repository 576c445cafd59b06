"""TOFU's questions (Maini et al. 2024) from local files, in the form that locuslab/TOFU has on the hub."""

from pathlib import Path

from unlearnkit.data import records
from unlearnkit.data.example import Example
from unlearnkit.errors import DataError

AUTHOR = 20  # questions about one author stand together
SPLITS = ("forget", "retain", "holdout")


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
    parts = parts_of(path)
    if not parts:
        raise DataError(f"the folder {path} holds no .json or .jsonl file")
    examples: dict[str, Example] = {}
    for example in (example for part in parts for example in _examples(part)):
        twin = examples.setdefault(example.prompt + "\n" + example.answer, example)
        if twin is not example:
            raise DataError(
                f"{twin.id} and {example.id} are the same question and answer: the files of {path} overlap. "
                "Keep one forget and one retain file, such as forget05.json and retain95.json"
            )
    return list(examples.values())


def parts_of(path: Path) -> list[Path]:
    """The file itself, or the JSON files in a folder, in the order of their names."""
    return sorted(p for p in path.iterdir() if p.suffix in (".json", ".jsonl")) if path.is_dir() else [path]


def is_tofu(path: Path) -> bool:
    """Whether a file's first line has a question and no prompt."""
    try:
        first = records.parse(records.lines(path)[0])
    except DataError:  # of which the user's loader tells more
        return False
    return "question" in first and "prompt" not in first


def _examples(path: Path) -> list[Example]:
    name = path.stem
    split = next((known for known in SPLITS if name.startswith(known)), name)
    return [
        Example(
            id=f"{name}-{index:04d}",
            person=f"{name}-author-{index // AUTHOR:03d}",
            prompt=record["question"].strip(),
            answer=record["answer"].strip().removesuffix("."),
            split=split,
            paraphrases=tuple(_as_list(record.get("paraphrased_question"))),
            contradiction=next(iter(_as_list(record.get("perturbed_answer"))), "").strip().removesuffix("."),
        )
        for index, (_, record) in enumerate(records.read(path, _faults))
    ]


def _faults(record: dict) -> list[str]:
    faults = []
    for field in ("question", "answer"):
        value = record.get(field)
        if not isinstance(value, str) or not value.strip():
            faults.append(f"{field!r} must be a non-empty string")
        elif fault := records.text_fault(value):
            faults.append(f"{field!r} {fault}")
        elif field == "answer" and not records.has_words(value):
            faults.append("'answer' has no letter or digit: what a model says could not be compared with it")
    for field in ("paraphrased_question", "perturbed_answer"):
        values = _as_list(record.get(field))
        if not all(isinstance(item, str) for item in values):
            faults.append(f"{field!r} must be a string or a list of strings")
        elif found := list(filter(None, map(records.text_fault, values))):
            faults.append(f"{field!r} {found[0]}")
    return faults


def _as_list(value: object) -> list:
    """A field of TOFU that holds one string, several, or nothing."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
