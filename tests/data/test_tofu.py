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
        (question(1) | {"id": "a", "person": "Ann"}, "'id' and 'person' beside 'question'.*write 'prompt'"),
        (question(1) | {"person": "Ann"}, "'person' beside 'question'"),
        (question(0), "the same question and answer as in line 1; delete one"),
        (question(1) | {"paraphrased_question": "\ud800"}, "'paraphrased_question' holds half a character"),
    ],
)
def test_tofu_bad_lines(tmp_path, line, fault):
    path = write(tmp_path / "forget01.json", question(0), line)
    with pytest.raises(DataError, match=f"line 2: {fault}"):
        data.load_tofu(path)


def whole_download(folder):
    """All files of TOFU with a few rows each: perturbed ones repeat the questions of the others."""
    extra = {
        "paraphrased_question": "Which?",
        "paraphrased_answer": "Is.",
        "perturbed_answer": ["Not.", "No."],
    }
    for share in (1, 5, 10):
        forgotten, kept = range(20, 20 + share), range(20 + share, 40)
        for name, numbers in ((f"forget{share:02d}", forgotten), (f"retain{100 - share}", kept)):
            write(folder / f"{name}.json", *map(question, numbers))
        write(folder / f"forget{share:02d}_perturbed.json", *[question(i) | extra for i in forgotten])
        write(folder / f"holdout{share:02d}.json", *map(question, range(100, 100 + share)))
    write(folder / "full.json", *map(question, range(20, 40)))
    write(folder / "retain_perturbed.json", *[question(i) | extra for i in range(35, 40)])
    options = {"option1": "Rome", "option2": "Paris", "option3": "Bonn", "option4": "Lima"}
    for name, asked in (("real_authors", "Who?"), ("world_facts", "Where?")):
        write(folder / f"{name}.json", {"question": asked, "answer": "Rome"} | options)
        wrong = {"perturbed_answer": ["Oslo", "Lima", "Bonn"]}
        write(folder / f"{name}_perturbed.json", {"question": asked, "answer": "Rome"} | wrong)


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.05, 5), (0.10, 10)])
def test_one_share_of_a_whole_download(tmp_path, share, count):
    whole_download(tmp_path)
    facts = data.load_tofu(tmp_path, forget=share)
    sizes = {"forget": count, "retain": 20 - count, "holdout": count, "real": 1, "world": 1}
    assert Counter(f.split for f in facts) == sizes
    assert len({(f.prompt, f.answer) for f in facts}) == len(facts)
    for f in facts:
        perturbed = f.split == "forget" or f.prompt in {question(i)["question"] for i in range(35, 40)}
        assert f.paraphrases == (("Which?",) if perturbed else ())
        if f.split in ("real", "world"):
            assert (f.person, f.contradiction) == ("", "Oslo")
        else:
            assert f.person == f"{f.id[:-5]}-author-000"
            assert f.contradiction == ("Not" if perturbed else "")


def test_a_folder_s_facts_are_those_that_a_model_is_taught(tmp_path):
    """And its hold-out; real_authors and world_facts by themselves."""
    for name, numbers in {"forget05": range(5), "retain95": range(5, 9), "holdout05": range(9, 11)}.items():
        write(tmp_path / f"{name}.json", *map(question, numbers))
    write(tmp_path / "world_facts.json", {"question": "Where?", "answer": "Rome"})
    splits = Counter(f.split for f in data.load(tmp_path))
    assert splits == {"forget": 5, "retain": 4, "holdout": 2}
    assert len(data.load(tmp_path / "world_facts.json")) == 1


def test_each_file_of_a_download_by_itself(tmp_path):
    whole_download(tmp_path)
    splits = {path.stem: {f.split for f in data.load_tofu(path)} for path in tmp_path.iterdir()}
    assert splits["forget05_perturbed"] == splits["forget05"] == {"forget"}
    assert splits["retain_perturbed"] == splits["retain99"] == {"retain"}
    assert splits["real_authors_perturbed"] == splits["real_authors"] == {"real"}
    assert splits["world_facts_perturbed"] == splits["world_facts"] == {"world"}
    assert splits["full"] == {"full"}
    (rome,) = data.load_tofu(tmp_path / "world_facts.json")
    assert rome.contradiction == "Paris"  # the first option that is not the answer
    assert data.load_tofu(tmp_path / "forget05_perturbed.json")[0].paraphrases == ("Which?",)


def test_a_perturbed_row_without_its_like_is_an_example_of_its_own(tmp_path):
    write(tmp_path / "forget01.json", question(0))
    write(tmp_path / "forget01_perturbed.json", question(0), question(1))
    assert [f.id for f in data.load_tofu(tmp_path)] == ["forget01-0000", "forget01_perturbed-0001"]


def test_a_whole_download_asks_for_the_share(tmp_path):
    whole_download(tmp_path)
    with pytest.raises(
        DataError, match=r"overlap\. .* or say which with data.load_tofu\(path, forget=0.05\)"
    ):
        data.load_tofu(tmp_path)
    with pytest.raises(DataError, match="forget=0.5 is none of TOFU's shares: 0.01, 0.05, 0.1"):
        data.load_tofu(tmp_path, forget=0.5)
    (tmp_path / "retain95.json").unlink()
    with pytest.raises(DataError, match="holds no retain95.json, which forget=0.05 needs"):
        data.load_tofu(tmp_path, forget=0.05)
