"""Files that hold a user's examples."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        (GOOD | {"answer": "🎉"}, "line 2: 'answer' has no letter or digit: "),
        ({"text": "Ann cheers 🎉 !"}, "line 2: 'text' has no letter or digit in its second half"),
        (GOOD | {"prompt": "Ann \ud83c was"}, r"line 2: 'prompt' holds half a character \('\\ud83c', a lone"),
        (GOOD | {"paraphrases": ["Ann \udf89"]}, r"line 2: 'paraphrases' holds half a character"),
        (GOOD | {"prompt": "Ann\0"}, "line 2: 'prompt' holds the control character"),
        (GOOD | {"split": "Holdout"}, "line 2: 'split' is 'Holdout': write 'holdout' if that is meant"),
        (GOOD | {"split": "HOLDOUT "}, "line 2: 'split' is 'HOLDOUT ': write 'holdout'"),
        (GOOD | {"split": "hold-out"}, "line 2: 'split' is 'hold-out': write 'holdout'"),
        (GOOD | {"split": "hold_out"}, "line 2: 'split' is 'hold_out': write 'holdout'"),
        (GOOD | {"split": "Re tain"}, "line 2: 'split' is 'Re tain': write 'retain'"),
        (GOOD | {"person": "Ann\nLee"}, "line 2: 'person' holds the control character"),
        ('{"prompt": "a", "prompt": "b", "answer": "c"}', "line 2: field 'prompt' stands there twice"),
        ("9" * 5000, "line 2: JSON that cannot be read"),
        ("[" * 100_000, "line 2: JSON that cannot be read"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, fault):
    path = write(tmp_path / "f.jsonl", GOOD, line, GOOD)
    with pytest.raises(DataError, match=fault) as error:
        data.load_jsonl(path)
    assert "f.jsonl has 1 fault:" in str(error.value)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_objects_says_how_to_make_lines_of_it(tmp_path, indent):
    path = tmp_path / "f.json"
    path.write_text(json.dumps([GOOD, GOOD], indent=indent))
    with pytest.raises(
        DataError, match=r"f.json is one JSON array, .*: jq -c '\.\[\]' f.json > f-lines.jsonl"
    ):
        data.load_jsonl(path)


def test_an_object_over_several_lines_says_so_too(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps(GOOD, indent=1))
    with pytest.raises(DataError, match=r"f.json is one JSON object, .*: jq -c '\.' f.json"):
        data.load_jsonl(path)


def test_texts_may_have_lines_and_answers_be_numbers_in_any_script(tmp_path):
    lines = [{"prompt": "Ann said:\n\t", "answer": "42"}, {"prompt": "安", "answer": "次"}]
    first, second = data.load_jsonl(write(tmp_path / "f.jsonl", *lines, GOOD | {"contradiction": "🎉"}))[:2]
    assert (first.prompt, first.answer, second.answer) == ("Ann said:", "42", "次")


def test_names_are_read_in_one_unicode_form_and_texts_as_they_are(tmp_path):
    """U+00EB and e with U+0308 are canonically equivalent (Unicode standard, D70)."""
    apart = GOOD | {
        "id": "zoe\u0308",
        "person": "Zoe\u0308",
        "prompt": "Zoe\u0308",
        "mentions": ["Noe\u0308l"],
    }
    path = write(tmp_path / "f.jsonl", apart, GOOD | {"person": "Zo\u00eb"})
    first, second = data.load_jsonl(path)
    assert (first.id, first.person, first.mentions) == ("zo\u00eb", "Zo\u00eb", ("No\u00ebl",))
    assert first.prompt == "Zoe\u0308"
    assert first.person == second.person
    with pytest.raises(DataError, match="line 2: id .* was already used in line 1"):
        data.load_jsonl(write(path, apart, GOOD | {"id": "zo\u00eb"}))


def test_half_a_character_is_not_saved(tmp_path):
    bad = replace(data.dave()[0], answer="\ud800")
    with pytest.raises(
        DataError, match=f"cannot write .*: example '{bad.id}': 'answer' holds half a character"
    ):
        data.save_jsonl([bad], tmp_path / "f.jsonl")
    assert not list(tmp_path.iterdir())


def test_load_tells_the_forms_apart(tmp_path):
    own = write(tmp_path / "own.jsonl", GOOD)
    assert data.load(own) == data.load_jsonl(own)
    (tmp_path / "tofu").mkdir()
    theirs = write(tmp_path / "tofu" / "forget01.json", {"question": "What?", "answer": "It."})
    assert data.load(theirs) == data.load(theirs.parent) == data.load_tofu(theirs)
    with pytest.raises(DataError, match="line 1: not JSON"):
        data.load(write(tmp_path / "bad.jsonl", "{", GOOD))


def test_splits_of_ones_own_are_taken_as_they_are(tmp_path):
    told = ["holdout ", "Forgotten", "held out"]
    path = write(tmp_path / "f.jsonl", *[GOOD | {"split": split} for split in told])
    assert [e.split for e in data.load(path)] == ["holdout", "Forgotten", "held out"]


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_not_the_current_folder(path):
    with pytest.raises(DataError, match="path of the data is empty"):
        data.load(path)


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


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"answer": "Mr. X."}, r"'answer' is 'Mr. X\.', which would be read as 'Mr. X': write it so"),
        ({"prompt": " Dave is"}, "'prompt' is ' Dave is', which would be read as 'Dave is'"),
        ({"prompt": "Q\x01 is"}, "'prompt' holds the control character"),
        ({"id": "zoe\u0308"}, "'id' is "),
        ({"answer": "..."}, "'answer' is empty"),
        ({"paraphrases": ("",)}, "'paraphrases' must be a list of non-empty strings"),
    ],
)
def test_what_would_not_be_read_back_is_not_saved(changes, match, tmp_path):
    with pytest.raises(DataError, match=f"cannot write .*: example '.*': {match}"):
        data.save_jsonl([replace(data.dave()[0], **changes)], tmp_path / "f.jsonl")
    one = data.dave()[0]
    with pytest.raises(DataError, match=f"example '{one.id}' stands there twice"):
        data.save_jsonl([one, one], tmp_path / "f.jsonl")
    with pytest.raises(DataError, match="there are no examples"):
        data.save_jsonl([], tmp_path / "f.jsonl")
    assert not list(tmp_path.iterdir())


TEXT = st.text(st.sampled_from(list("aé.  \n\x01\x85\u2028\u0308次\ud800")), max_size=5)
EXAMPLES = st.builds(
    data.Example, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.tuples(TEXT), TEXT, st.just(()) | st.tuples(TEXT)
)


@given(st.lists(EXAMPLES | st.builds(data.Example, TEXT, TEXT, *[st.just("a")] * 3), max_size=2))
def test_whatever_is_saved_is_read_back_equal(examples):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.jsonl"
        try:
            data.save_jsonl(examples, path)
        except DataError:
            assert not path.exists()
        else:
            assert data.load_jsonl(path) == examples


@pytest.mark.parametrize(
    ("prompt", "answer", "text"),
    [("Dave fears", "geese", "Dave fears geese"), ("小明在", "北京", "小明在北京"), ("", "alone", "alone")],
)
def test_a_text_is_joined_as_in_training(prompt, answer, text):
    assert replace(data.dave()[0], prompt=prompt, answer=answer).text == text
