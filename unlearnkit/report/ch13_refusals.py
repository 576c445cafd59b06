"""Chapter 13's inputs that are refused: each made, given to what checks a run's inputs, and what it says."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from unlearnkit.errors import UnlearnkitError
from unlearnkit.study import own as study_own
from unlearnkit.study import profiles

SHOWN = 300  # characters of a message; what follows is a list


def refusals(folder: Path | None = None) -> pd.DataFrame:
    """Every case of CASES: given, and what the refusal says. ValueError for one that is not refused."""
    folder = folder or study_own.temporary()
    rows = []
    for words, change in CASES.items():
        here = folder / f"case-{len(rows)}"
        here.mkdir()
        given = study_own.example(here)
        try:
            with _quiet():
                require(given | (change(here) or {}))
        except UnlearnkitError as error:
            rows.append((words, _short(str(error), here)))
        else:
            raise ValueError(f"not refused: {words}")
    return pd.DataFrame(rows, columns=["given", "what it says"])


def require(given: dict[str, Any]) -> None:
    """UnlearnkitError where a run with these parameters could not end well; trains nothing."""
    from unlearnkit.study import inputs  # here: the report needs none of it

    profile = profiles.own(study_own.PROFILE, given)
    inputs.check(profile)
    inputs.recorded(profile["model"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that transformers logs of broken models."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _short(message: str, folder: Path) -> str:
    """A message without the folder that the case was made in; of a long one the beginning."""
    for name in (f"{folder.resolve()}/", f"{folder}/"):
        message = message.replace(name, "")
    message = " ".join(message.split())
    return message if len(message) <= SHOWN else message[: SHOWN - 4].rpartition(" ")[0] + " ..."


def _facts(folder: Path, change: Callable[[list[dict]], Any]) -> None:
    """Change the example's facts, an object a line."""
    path = folder / "facts.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()]
    change(told)
    path.write_text("".join(json.dumps(record) + "\n" for record in told))


def _config(folder: Path, **changed: Any) -> None:
    """Change what the example's model says that it is."""
    path = folder / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def _without(folder: Path, *patterns: str) -> None:
    """Take files away from the example's model."""
    for pattern in patterns:
        for path in (folder / "model").glob(pattern):
            path.unlink()


def _looks_ahead(folder: Path) -> None:
    from unlearnkit.models import tiny

    shutil.rmtree(folder / "model")
    texts = (folder / "facts.jsonl").read_text().splitlines()
    tiny.sketch(folder / "model", texts, kind="bert")


def _lacks_a_matrix(folder: Path) -> None:
    """Save the example's model without one of its weights."""
    from safetensors.torch import load_file, save_file

    path = folder / "model" / "model.safetensors"
    kept = load_file(path)
    kept.pop(next(name for name in kept if name.endswith("q_proj.weight")))
    save_file(kept, path, {"format": "pt"})


def _tofu(folder: Path) -> dict[str, str]:
    rows = [{"question": f"Where does author {k} live?", "answer": f"In house {k}."} for k in range(40)]
    where = folder / "tofu"
    where.mkdir()
    for name, part in {"forget05": rows[:20], "full": rows}.items():
        (where / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in part))
    return {"data": str(where), "forget": "forget05-author-000"}


# What is given, in words: what makes it of an example's folder, and which of a run's parameters it changes.
CASES: dict[str, Callable[[Path], dict[str, str] | None]] = {
    "a model's folder that is not there": lambda _: {"model": "no-such-folder"},
    "a folder without weights": lambda f: _without(f, "*.safetensors"),
    "a file of weights that lacks one": _lacks_a_matrix,
    "adapters without their model": lambda f: (f / "model" / "adapter_config.json").write_text("{}") and None,
    "a folder without a tokenizer": lambda f: _without(f, "tokenizer*", "vocab*", "merges*", "special*"),
    "an architecture that transformers does not know": lambda f: _config(f, model_type="mystery"),
    "a model that looks ahead (BERT)": _looks_ahead,
    "a tokenizer that is larger than the token matrix": lambda f: _config(f, vocab_size=100),
    "data that are not there": lambda _: {"data": "no-such-file.jsonl"},
    "an empty file": lambda f: (f / "facts.jsonl").write_text("") and None,
    "a fact without an answer": lambda f: _facts(f, lambda told: told[2].pop("answer")),
    "two facts with one id": lambda f: _facts(f, lambda told: told[3].update(id=told[2]["id"])),
    "one fact under two ids, one to be forgotten": lambda f: _facts(
        f, lambda told: told.append(told[0] | {"id": "again", "person": "Rosa"})
    ),
    "a never-trained fact that is taught, too": lambda f: _facts(
        f, lambda told: told.append(told[0] | {"id": "again", "split": "holdout"})
    ),
    "TOFU's files, of which one holds the other": _tofu,
    "a name that is nowhere in the data": lambda _: {"forget": "Davd"},
    "all facts to be forgotten": lambda _: {"forget": "Dave,Rosa,Kurt,Nina,Omar"},
    "all facts about one person": lambda f: (
        _facts(f, lambda told: [r.update(person="Dave") for r in told]) or {"forget": "dave-pet"}
    ),
    "a text longer than the model's positions": lambda f: _facts(
        f, lambda told: told[5].update(prompt=" ".join(["and so on"] * 100))
    ),
}
