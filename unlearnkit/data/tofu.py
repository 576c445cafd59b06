"""TOFU's questions (Maini et al. 2024) from local files, in the form that locuslab/TOFU has on the hub."""

from dataclasses import replace
from pathlib import Path

from unlearnkit.data import records
from unlearnkit.data.example import Example
from unlearnkit.errors import DataError

AUTHOR = 20  # questions about one author stand together
SHARES = (0.01, 0.05, 0.10)  # forget01, forget05, forget10
SPLITS = ("forget", "retain", "holdout")
NOT_TRAINED = {"real_authors": "real", "world_facts": "world"}  # each question about somebody else
# In real_authors and world_facts, the answer among them.
OPTIONS = ("option1", "option2", "option3", "option4")
OWN = ("id", "person")  # of a user's own form: here both come from the place in the file
PERTURBED = "_perturbed"  # files that tell of the same questions paraphrases and wrong answers


def load_tofu(path: str | Path, forget: float | None = None) -> list[Example]:
    """TOFU's questions from a local JSON-lines file, or from a folder of them, e.g. forget05 with retain95.

    `forget` (0.01, 0.05 or 0.10) says which files of a whole download to read: e.g. forget05, retain95 and
    holdout05, with real_authors, world_facts and what `_perturbed` files add. Without it, all are read.

    The prompt is the question. Authors have no names in TOFU: each 20 consecutive questions of a file are one
    ("forget05-author-000"). The split is "forget", "retain", "holdout", "real" or "world" after the file's
    name, else that name. The contradiction is the first wrong answer or option. A row of a `_perturbed` file
    completes the same question of another file, and is an example of its own where there is none. DataError
    names a hub id (nothing is downloaded here), bad files, bad lines and those that are the same.
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
    parts = parts if forget is None else _chosen(parts, forget, path)
    plain = [part for part in parts if not part.stem.endswith(PERTURBED)]
    examples: dict[str, Example] = {}
    for part in [*plain, *(part for part in parts if part not in plain)]:
        found = _examples(part)
        if part in plain:
            _require_distinct(found, part)
        for example in found:
            key = f"{example.prompt}\n{example.answer}"
            twin = examples.get(key)
            if twin and part in plain:
                raise DataError(
                    f"{twin.id} and {example.id} are the same question and answer: the files of {path} "
                    "overlap. Keep one forget and one retain file, such as forget05.json and retain95.json, "
                    "or say which with data.load_tofu(path, forget=0.05)"
                )
            examples[key] = _completed(twin, example) if twin else example
    return list(examples.values())


def _chosen(parts: list[Path], forget: float, path: Path) -> list[Path]:
    """The files of one share to be forgotten, from a folder of all."""
    if forget not in SHARES:
        raise DataError(f"forget={forget} is none of TOFU's shares: {', '.join(map(str, SHARES))}")
    share = round(100 * forget)
    pair = (f"forget{share:02d}", f"retain{100 - share}")
    wanted = {*pair, f"holdout{share:02d}", *NOT_TRAINED}
    wanted |= {"retain" + PERTURBED, *(name + PERTURBED for name in wanted)}
    found = [part for part in parts if part.stem in wanted]
    if missing := [name for name in pair if name not in {part.stem for part in found}]:
        raise DataError(f"{path} holds no {missing[0]}.json, which forget={forget} needs")
    return found


def _completed(example: Example, perturbed: Example) -> Example:
    """An example with what a `_perturbed` file adds to it."""
    return replace(
        example,
        paraphrases=example.paraphrases or perturbed.paraphrases,
        contradiction=perturbed.contradiction or example.contradiction,
    )


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
    about = NOT_TRAINED.get(name.removesuffix(PERTURBED), "")
    split = about or next((known for known in SPLITS if name.startswith(known)), name)
    return [
        Example(
            id=f"{name}-{index:04d}",
            person="" if about else f"{name}-author-{index // AUTHOR:03d}",
            prompt=record["question"].strip(),
            answer=record["answer"].strip().removesuffix("."),
            split=split,
            paraphrases=tuple(_as_list(record.get("paraphrased_question"))),
            contradiction=_wrong(record).strip().removesuffix("."),
        )
        for index, (_, record) in enumerate(records.read(path, _faults))
    ]


def _require_distinct(examples: list[Example], path: Path) -> None:
    """DataError that names the lines of a file with a question and answer of an earlier line."""
    texts = enumerate(((e.prompt, e.answer) for e in examples), start=1)  # each line is an example
    faults = [
        f"line {number}: the same question and answer as in line {first}; delete one"
        for number, _, first in records.repeated(texts)
    ]
    records.raise_if(faults, path)


def _wrong(record: dict) -> str:
    """The first wrong answer that a record tells; "" where it tells none."""
    told = [*_as_list(record.get("perturbed_answer")), *(record[name] for name in OPTIONS if name in record)]
    return next((text for text in told if text != record["answer"]), "")


def _faults(record: dict) -> list[str]:
    faults = []
    if own := [repr(field) for field in OWN if field in record]:
        faults.append(
            f"{' and '.join(own)} beside 'question', which is TOFU's form, where both come from the place in "
            "the file: write 'prompt' instead of 'question' to give your own"
        )
    for field in ("question", "answer"):
        value = record.get(field)
        if not isinstance(value, str) or not value.strip():
            faults.append(f"{field!r} must be a non-empty string")
        elif fault := records.text_fault(value):
            faults.append(f"{field!r} {fault}")
        elif field == "answer" and not records.has_words(value):
            faults.append("'answer' has no letter or digit: what a model says could not be compared with it")
    for field in ("paraphrased_question", "perturbed_answer", *OPTIONS):
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
