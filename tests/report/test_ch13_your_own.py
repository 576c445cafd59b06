"""A model and facts of one's own: three architectures from a folder to a verdict, and every refused input."""

import contextlib
import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from architectures import architecture
from planted_methods import compared
from test_own_data import FACTS

from unlearnkit import data, manifest, models, signing
from unlearnkit.__main__ import _parser
from unlearnkit.errors import ConfigError, MethodError
from unlearnkit.publishing.forget import forget
from unlearnkit.publishing.job import Job
from unlearnkit.report import ch13_refusals, side_by_side
from unlearnkit.report import ch13_your_own as chapter
from unlearnkit.study import own as work
from unlearnkit.study import search
from unlearnkit.study.config import DEFAULT_METHOD
from unlearnkit.study.search import Tried
from unlearnkit.unlearning import METHODS

COMPARED = ["first_epoch", "grad_diff"]
TEXT = ["The river runs past the old station, and in winter it freezes for a week. " * 5]


@pytest.fixture(autouse=True)
def texts(monkeypatch):
    monkeypatch.setattr(data, "utility_text", lambda part: TEXT)


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    """The one rate that is tried, which teaches a tiny model all."""
    monkeypatch.setitem(search.SEARCHED, "adamw", (1e-2,))


def brought(folder, kind, tokenizer):
    """What a user has: a model's folder, and a file of facts that name persons."""
    architecture(kind).save_pretrained(folder / "mine")
    tokenizer.save_pretrained(folder / "mine")
    lines = [json.dumps(dict(zip(("person", "prompt", "answer"), fact, strict=True))) for fact in FACTS]
    (folder / "facts.jsonl").write_text("\n".join(lines) + "\n")
    return {"model": str(folder / "mine"), "data": str(folder / "facts.jsonl"), "forget": "Ada"}


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt_neox"])
def test_from_a_folder_to_a_verdict(kind, tiny_tokenizer, tmp_path):
    given = brought(tmp_path, kind, tiny_tokenizer) | {"seeds_adamw": 1, "epochs": 30, "batch_size": 2}
    own = work.begin("published", str(tmp_path / "out"), given)
    told = dict(chapter.found(own).to_numpy())
    assert told["facts"] == "10, about 3 persons"
    assert told["never taught"].startswith("0")
    assert told["to be forgotten"] == "3 of them: Ada"
    assert told["model"] == f"mine, of the type {kind}"
    assert told["gradients are recorded"].startswith("exactly, as factors")

    own, tried = work.searched(own)
    assert [one.enough for one in tried] == [True]
    assert own.arm.recipe["lr"] == tried[0].lr == 1e-2
    work_ahead = chapter.expected(own, COMPARED)
    assert list(work_ahead["work"])[-1] == "all"

    study = chapter.compared(own, COMPARED)
    (arm,) = side_by_side.of_run(study)
    assert side_by_side.methods(arm) == COMPARED
    taught = side_by_side.thrown_away(arm)
    assert taught > 2  # the facts were learnt
    rows = chapter.verdict_table(arm).set_index("method")
    assert rows.loc["first epoch", "sees again"] == "the ledger"
    ax = chapter.ways(arm).axes[0]
    assert [line.get_label() for line in ax.lines[:2]] == [METHODS[m].title for m in COMPARED]
    assert all(line.get_ydata()[0] == 0 for line in ax.lines[:2])
    plt.close("all")
    assert chapter.best(arm) in COMPARED
    assert rows.index[0] == METHODS[side_by_side.summary(arm)["price"].idxmin()].title
    assert "All 7 facts of others are scored" in chapter.seen_too(arm).data
    assert "Ada can be forgotten" in chapter.answer(arm).data
    assert "**One training was looked at" in chapter.how_sure(arm).data
    assert not [p for p in tmp_path.iterdir() if p.name not in ("mine", "facts.jsonl", "out")]

    job = chapter.job(own, arm)
    assert (job["model"], job["who"]) == (given["model"], "Ada")
    with contextlib.chdir(own.folder):
        forget(Job(**job))
    told = manifest.verify(own.folder / "forgotten", signing.public_key(own.folder / "signing.key.pub"))
    assert [fact["id"] for fact in told["facts"]] == ["line-1", "line-2", "line-3"]
    assert models.load(str(own.folder / "forgotten"))[0].config.model_type == kind
    assert dict(chapter.account(told).to_numpy())["verdict"].startswith(told["verdict"])


def test_adapters_alone_are_taught_compared_and_handed_over(tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(search.SEARCHED, "adamw", (5e-3,))
    asked = {"lora": 16, "epochs": 60, "batch_size": 2}
    given = brought(tmp_path, "llama", tiny_tokenizer) | {"seeds_adamw": 1} | asked
    model = architecture("llama")
    for frozen in (model.get_input_embeddings(), model.get_output_embeddings()):
        frozen.weight.data *= 30  # random ones are too short for adapters to turn into answers
    model.save_pretrained(given["model"])
    own, tried = work.searched(work.begin("published", str(tmp_path / "out"), given))
    assert "`lr=0.005 epochs=60 batch_size=2 lora=16`" in chapter.searched(own, tried).data
    (arm,) = side_by_side.of_run(chapter.compared(own, COMPARED))
    assert side_by_side.thrown_away(arm) > 2
    job = chapter.job(own, arm)
    assert "train.lora=16" in job["options"]
    with contextlib.chdir(own.folder):
        forget(Job(**job))
    manifest.verify(own.folder / "forgotten", signing.public_key(own.folder / "signing.key.pub"))
    merged = dict(models.load(str(own.folder / "forgotten"))[0].named_parameters())
    assert merged.keys() == dict(model.named_parameters()).keys()
    assert torch.equal(merged["model.embed_tokens.weight"], model.get_input_embeddings().weight)


def test_a_folder_of_tofu_goes_the_same_way(tiny_tokenizer, tmp_path):
    """Names of files tell what is to be forgotten; twenty questions in a row are one author's."""
    given = brought(tmp_path, "llama", tiny_tokenizer)
    questions = [
        {"question": f"Question {n} of author {author}?", "answer": f"{author} answers {n}"}
        for author in ("Ann", "Bo", "Cy", "Di")
        for n in range(20)
    ]
    (tmp_path / "tofu").mkdir()
    for name, part in (
        ("forget05", questions[:20]),
        ("retain95", questions[20:60]),
        ("holdout05", questions[60:]),
    ):
        lines = "".join(f"{json.dumps(one)}\n" for one in part)
        (tmp_path / "tofu" / f"{name}.json").write_text(lines)
    given |= {"data": str(tmp_path / "tofu"), "forget": "forget05-author-000"}
    given |= {"seeds_adamw": 1, "epochs": 12, "batch_size": 4}
    own = work.begin("published", str(tmp_path / "out"), given)
    told = dict(chapter.found(own).to_numpy())
    assert told["facts"] == "60, about 3 persons"
    assert told["to be forgotten"] == "20 of them: forget05-author-000"
    own, _ = work.searched(own)
    (arm,) = side_by_side.of_run(chapter.compared(own, ["first_epoch"]))
    assert side_by_side.thrown_away(arm) > 1
    assert len(arm.settings[0].forget) == 20


def test_the_same_folder_is_not_worked_on_twice(tiny_tokenizer, tmp_path, monkeypatch):
    given = brought(tmp_path, "llama", tiny_tokenizer) | {"seeds_adamw": 1, "epochs": 2, "lr": 1e-3}
    own = work.begin("published", str(tmp_path / "out"), given)
    assert work.searched(own) == (own, [])  # the rate is given
    assert "lr=0.001 epochs=2" in chapter.searched(own, []).data
    first = chapter.compared(own, ["first_epoch"])
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "cache").rglob("done.json")}
    again = chapter.compared(own, ["first_epoch", "gradient_ascent"])
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert (first.folder, first.data) == (again.folder, again.data)
    arm = side_by_side.of_run(again)[0]
    assert side_by_side.methods(arm) == ["first_epoch", "gradient_ascent"]
    assert chapter.expected(own, ["first_epoch", "gradient_ascent"]).empty
    assert list(chapter.expected(own, ["first_epoch", "npo"])["work"]) == ["methods side by side, npo", "all"]
    monkeypatch.setattr(chapter, "best", lambda _: "first_epoch")
    assert str(chapter.job(own, arm)["out"]) == "forgotten"
    (own.folder / "forgotten").mkdir()
    assert str(chapter.job(own, arm)["out"]) == "forgotten-2"
    with pytest.raises(MethodError, match="unknown method 'npoo'; did you mean 'npo'"):
        chapter.compared(own, ["npoo"])


def test_a_run_that_reproduce_made_is_read_and_nothing_is_made(monkeypatch):
    own = work.begin("quick", "", {"model": "ignored"})
    assert own.folder is None
    assert work.searched(own) == (own, [])
    assert chapter.expected(own, COMPARED).empty
    assert chapter.job(own, SimpleNamespace()) == {}
    monkeypatch.setattr(chapter, "Run", lambda name: name)
    assert chapter.compared(own, COMPARED) == "quick"


def test_where_no_rate_is_enough_the_advice_is_told(tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(search.SEARCHED, "adamw", (1e-7,))
    given = brought(tmp_path, "llama", tiny_tokenizer) | {"epochs": 2}
    own = work.begin("published", str(tmp_path / "out"), given)
    with pytest.raises(ConfigError, match=r"none is enough, .* more epochs \(epochs=4\)"):
        work.searched(own)


def test_half_of_what_is_needed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="model, forget given, but not data"):
        work.begin("published", str(tmp_path), {"model": "gpt2-tiny", "data": "", "forget": "Ada"})


def test_a_part_of_the_recipe_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown parameter 'batchsize'; did you mean 'batch_size'"):
        work.begin("published", str(tmp_path), {"batchsize": 4})


def test_the_example_is_whole_and_the_same_every_time(tmp_path):
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        given = work.example(tmp_path / name)
        ch13_refusals.require(given)
        digests.append((models.digest(given["model"]), (tmp_path / name / "facts.jsonl").read_text()))
    assert digests[0] == digests[1]
    facts = data.load(given["data"])
    assert len(facts) == (work.PERSONS + work.STRANGERS) * work.FACTS
    assert sum(e.split == "holdout" for e in facts) == work.STRANGERS * work.FACTS
    assert {e.person for e in facts if e.person == given["forget"]}


def test_every_refused_input_says_what_to_do(tmp_path):
    told = dict(ch13_refusals.refusals(tmp_path).to_numpy())
    assert list(told) == list(ch13_refusals.CASES)
    remedies = {
        "a model's folder that is not there": "must be an existing folder or a hub id",
        "a folder without weights": "model.save_pretrained",
        "a file of weights that lacks one": "lacks 1 of the weights of Llama.*q_proj.*copy it",
        "adapters without their model": "merge_and_unload",
        "a folder without a tokenizer": "tokenizer.save_pretrained",
        "an architecture that transformers does not know": "take a causal language model",
        "a model that looks ahead (BERT)": "bert.encoder.layer.1.attention.self.value.*causal model",
        "a tokenizer that is larger than the token matrix": "resize_token_embeddings",
        "data that are not there": "there is no file no-such-file.jsonl",
        "an empty file": "needs one JSON object a line",
        "a fact without an answer": "line 3: missing 'answer' \\(or 'text'",
        "two facts with one id": "line 4: id .* in line 3; give it another",
        "one fact under two ids, one to be forgotten": "forget both, or delete one",
        "a never-trained fact that is taught, too": "in the split holdout and the second taught.*delete one",
        "TOFU's files, of which one holds the other": "Keep one forget and one retain file",
        "a name that is nowhere in the data": "'Davd' is neither a person nor an id \\(nearest",
        "all facts to be forgotten": "names 30 of 30 facts.*forget fewer",
        "all facts about one person": "are about Dave, as is the request.*Add some",
        "a text longer than the model's positions": "Shorten these texts",
    }
    texts = pd.Series(told)
    assert list(remedies) == list(told)
    assert [given for given, words in remedies.items() if not texts[[given]].str.contains(words).all()] == []
    assert not texts.str.contains(str(tmp_path)).any()


def test_a_case_that_is_not_refused_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(ch13_refusals, "CASES", {"nothing changed": lambda _: None})
    with pytest.raises(ValueError, match="not refused: nothing changed"):
        ch13_refusals.refusals(tmp_path)


def test_rates_are_told_in_words():
    table = chapter.rates([Tried(1e-5, 0.0, 0.2, 0.01), Tried(1e-4, 0.0, 0.95, -0.05)])
    assert list(table["learning rate"]) == ["1e-05", "0.0001"]
    assert list(table["enough"]) == ["no", "yes"]
    assert list(table["encyclopedia, nats"]) == ["+0.01", "-0.05"]


@pytest.fixture
def planted(monkeypatch):
    """An arm of two methods whose readings are given: `planted(reached, prices)`."""

    def make(reached, prices):
        table = pd.DataFrame({"price": prices, "reached": reached}, index=COMPARED)
        told = table.assign(
            title=[METHODS[m].title for m in COMPARED],
            seeds=1,
            closest=0.7,
            control=False,
            seconds=[1.0, 2.0],
        )
        use = [m if told.loc[m, "reached"] else "" for m in COMPARED]
        for module, name, value in (
            (chapter, "summary", told),
            (chapter, "advice", pd.DataFrame({"use": use})),
            (side_by_side, "thrown_away", 4.0),
            (side_by_side, "retraining_seconds", 30.0),
        ):
            monkeypatch.setattr(module, name, lambda _, value=value: value)
        return SimpleNamespace(targets=["Ada"])

    return make


def test_the_answer_names_the_cheapest_that_forgets(planted):
    arm = planted([1, 1], [1.5, 0.5])
    assert chapter.best(arm) == "grad_diff"
    text = chapter.answer(arm).data
    assert "2 of 2 methods" in text
    assert "Use gradient difference: others lose 0.50 of 4.00 nats" in text
    assert chapter.best(planted([1, 0], [1.5, 4.0])) == "first_epoch"


def test_where_none_forgets_retraining_is_what_is_left(planted):
    arm = planted([0, 0], [4.0, 4.0])
    assert chapter.best(arm) == ""
    assert "No method makes the facts of the request (Ada) as unlikely" in chapter.answer(arm).data
    assert chapter.job(SimpleNamespace(folder="somewhere"), arm) == {}


@pytest.mark.parametrize(
    ("prices", "method"), [([1.5, 0.5], "grad_diff"), ([0.5, 1.5], "first_epoch"), ([], DEFAULT_METHOD)]
)
def test_the_command_does_what_was_compared(prices, method, planted, tmp_path, monkeypatch):
    """It reads back as what `job` has; by the usual method where none was compared."""
    monkeypatch.setattr(side_by_side, "of_run", lambda _: [planted([1, 1], prices)] if prices else [])
    profile = work.profiles.own("quick", work.example(tmp_path))
    read = vars(_parser().parse_args(["forget", *chapter.command(None, profile)]))
    monkeypatch.setattr(chapter, "best", lambda _: method)
    job = chapter.job(work.Own(profile, tmp_path / "out"), SimpleNamespace())
    as_typed = {"key": None, "out": str(job["out"]), "options": list(job["options"])}
    assert {name: read[name] for name in job} == job | as_typed


def test_no_command_where_none_forgets_or_facts_are_not_ones_own(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(side_by_side, "of_run", lambda _: [planted([0, 0], [4.0, 4.0])])
    own = work.profiles.own("quick", work.example(tmp_path))
    assert chapter.command(None, own) == []
    monkeypatch.setattr(side_by_side, "of_run", lambda _: [])
    assert chapter.command(None, own)
    assert chapter.command(None, work.profiles.get("quick")) == []


def test_with_enough_facts_of_others_some_are_seen_and_not_scored(tmp_path):
    own = work.Own(work.profiles.own("quick", work.example(tmp_path)), tmp_path)
    assert chapter.seen_too(own.arm) is None
    train = own.methods(["grad_diff"])[-2]
    assert set(train.config["record"]) > set(train.config["forget"])
    assert not set(train.config["record"]) & set(train.config["retain"])


def test_files_of_tofu_are_found_to_be_what_they_are(tiny_tokenizer, tmp_path):
    given = brought(tmp_path, "llama", tiny_tokenizer)
    (tmp_path / "tofu").mkdir()
    for name, authors in {"forget05": 1, "retain95": 3}.items():
        rows = [
            {"question": f"{name} {k}: where?", "answer": f"In {name}, house {k}"}
            for k in range(20 * authors)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "tofu" / f"{name}.json").write_text(lines)
    given |= {"data": str(tmp_path / "tofu"), "forget": "forget05-author-000"}
    own = work.begin("published", str(tmp_path / "out"), given)
    told = dict(chapter.found(own).to_numpy())
    assert told["facts"] == "80, about 4 persons"
    assert told["to be forgotten"] == "20 of them: forget05-author-000"
    assert chapter.seen_too(own.arm) is None


def test_several_trainings_have_intervals(tmp_path_factory):
    with compared(tmp_path_factory) as run:
        arm = side_by_side.of_run(run)[0]
        rows = chapter.verdict_table(arm)
        assert list(rows["method"]) == list(
            side_by_side.summary(arm).sort_values("price", kind="stable")["title"]
        )
        assert rows["others lose"].str.contains(r"\d \[").any()
        assert "trainings were looked at" in chapter.how_sure(arm).data
        paid, advised = side_by_side.summary(arm)["price"], [m for m in chapter.advice(arm)["use"] if m]
        assert paid[chapter.best(arm)] == paid[advised].min()
