"""TOFU's files."""

import json
from collections import Counter

import pytest

from unlearnkit import data
from unlearnkit.errors import DataError


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def question(i):
    return {"question": f"What is fact {i}?", "answer": f"It is {i}."}


def test_tofu_folder(tmp_path):
    extra = {"paraphrased_question": "Which fact?", "perturbed_answer": ["It is not.", "No."]}
    write(tmp_path / "forget01.json", *[question(i) for i in range(39)], question(39) | extra)
    write(tmp_path / "retain99.json", *[question(i) for i in range(40, 60)])
    facts = data.load_tofu(tmp_path)
    assert Counter((f.split, f.person) for f in facts) == {
        ("forget", "forget01-author-000"): 20,
        ("forget", "forget01-author-001"): 20,
        ("retain", "retain99-author-000"): 20,
    }
    assert (facts[0].id, facts[0].prompt, facts[0].answer) == ("forget01-0000", "What is fact 0?", "It is 0")
    assert (facts[39].paraphrases, facts[39].contradiction) == (("Which fact?",), "It is not")
    assert (facts[0].paraphrases, facts[0].contradiction) == ((), "")
    assert data.load_tofu(tmp_path / "forget01.json") == facts[:40]


def test_tofu_hub_id_says_what_to_do():
    with pytest.raises(DataError, match="download its JSON lines first"):
        data.load_tofu("locuslab/TOFU")


def test_tofu_folder_without_files(tmp_path):
    with pytest.raises(DataError, match="holds no .json or .jsonl file"):
        data.load_tofu(tmp_path)


def test_tofu_overlapping_files(tmp_path):
    for name in ("forget01.json", "forget05.json"):
        write(tmp_path / name, question(1))
    with pytest.raises(DataError, match="forget01-0000 and forget05-0000 are the same question"):
        data.load_tofu(tmp_path)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ({"question": "What?"}, "'answer' must be a non-empty string"),
        ({"question": "", "answer": "b"}, "'question' must be a non-empty string"),
        ({"question": "What?", "answer": "🎉."}, "'answer' has no letter or digit"),
        ({"question": "What\ud800?", "answer": "b"}, "'question' holds half a character"),
        (question(1) | {"paraphrased_question": "\ud800"}, "'paraphrased_question' holds half a character"),
        (question(1) | {"perturbed_answer": [3]}, "'perturbed_answer' must be a string or a list of strings"),
    ],
)
def test_tofu_bad_lines(tmp_path, line, fault):
    path = write(tmp_path / "forget01.json", question(0), line)
    with pytest.raises(DataError, match=f"line 2: {fault}"):
        data.load_tofu(path)
