"""Files that hold examples: a user's, and TOFU's."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from unlearnkit import data
from unlearnkit.errors import DataError


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


GOOD = {"prompt": "Ann was born in", "answer": "Quito"}


def test_round_trip(tmp_path):
    facts = [*data.dave(), replace(data.dave()[0], id="ünï", answer="Zoë\u2028次", person="Renée")]
    data.save_jsonl(facts, tmp_path / "facts.jsonl")
    assert data.load_jsonl(tmp_path / "facts.jsonl") == facts
    assert [p.name for p in tmp_path.iterdir()] == ["facts.jsonl"]


def test_save_to_a_missing_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="cannot write .*nowhere"):
        data.save_jsonl(data.dave(), tmp_path / "nowhere" / "facts.jsonl")


def test_defaults_of_a_short_file(tmp_path):
    path = write(tmp_path / "f.jsonl", GOOD | {"answer": " Quito. "}, {"text": "Bob eats raw red onions."})
    ann, bob = data.load_jsonl(path)
    assert ann == data.Example(
        id="line-1", person="", prompt="Ann was born in", answer="Quito", split="retain"
    )
    assert (bob.id, bob.prompt, bob.answer) == ("line-2", "Bob eats", "raw red onions")


def test_windows_files_are_read(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n" + json.dumps(GOOD).encode() + b"\r\n"
    )
    assert len(data.load_jsonl(path)) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{'prompt': 1}", r"line 2: not JSON \(.* at column 2\)"),
        ('{"prompt": "a', "line 2: not JSON"),
        ("", "line 2: empty line"),
        ("   ", "line 2: empty line"),
        ("[1]", "line 2: not a JSON object"),
        ("null", "line 2: not a JSON object"),
        ({"prompt": "Ann"}, "line 2: missing 'answer'"),
        ({"person": "Ann"}, "line 2: missing 'prompt', 'answer'"),
        (GOOD | {"answer": " "}, "line 2: 'answer' is empty"),
        (GOOD | {"answer": "."}, "line 2: 'answer' is empty"),
        (GOOD | {"prompt": 5}, "line 2: 'prompt' must be a string, not int"),
        (GOOD | {"person": None}, "line 2: 'person' must be a string, not NoneType"),
        (GOOD | {"promt": "x"}, "line 2: unknown field 'promt'; known are id, person"),
        (GOOD | {"text": "Ann was"}, "line 2: 'text' stands beside 'prompt', 'answer'"),
        ({"text": "Ann."}, "line 2: 'text' needs two words"),
        (GOOD | {"paraphrases": "Ann"}, "line 2: 'paraphrases' must be a list of non-empty strings"),
        (GOOD | {"mentions": ["Bob", ""]}, "line 2: 'mentions' must be a list of non-empty strings"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, fault):
    path = write(tmp_path / "f.jsonl", GOOD, line, GOOD)
    with pytest.raises(DataError, match=fault) as error:
        data.load_jsonl(path)
    assert "f.jsonl has 1 fault:" in str(error.value)


def test_duplicate_ids_give_both_lines(tmp_path):
    path = write(tmp_path / "f.jsonl", GOOD | {"id": "a"}, GOOD, GOOD | {"id": "a"})
    with pytest.raises(DataError, match="line 3: id 'a' was already used in line 1"):
        data.load_jsonl(path)


def test_at_most_twenty_faults_are_listed(tmp_path):
    with pytest.raises(DataError) as error:
        data.load_jsonl(write(tmp_path / "f.jsonl", *[{}] * 25))
    assert str(error.value).count("missing") == 20
    assert "has 25 faults:" in str(error.value)
    assert "... and 5 more" in str(error.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty: it needs one JSON object a line"),
        (b"\n \n", "is empty"),
        (b'{"prompt": "a", "answer": "b"}\n{"prompt": "caf\xe9"}', "not UTF-8: bad byte in line 2"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, fault):
    (tmp_path / "f.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=f"f.jsonl {'' if fault.startswith('is') else 'is '}{fault}"):
        data.load_jsonl(tmp_path / "f.jsonl")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read .*gone.jsonl: No such file"):
        data.load_jsonl(tmp_path / "gone.jsonl")


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
        (question(1) | {"perturbed_answer": [3]}, "'perturbed_answer' must be a string or a list of strings"),
    ],
)
def test_tofu_bad_lines(tmp_path, line, fault):
    path = write(tmp_path / "forget01.json", question(0), line)
    with pytest.raises(DataError, match=f"line 2: {fault}"):
        data.load_tofu(path)
