"""The cell that talks to a live model: what it says before and after, and that the model is put back."""

import ipywidgets as widgets
import pytest
import torch
from unlearning_helpers import REQUEST, Trained
from worlds import FACTS

from unlearnkit import metrics
from unlearnkit.errors import DataError, MethodError
from unlearnkit.publishing import live
from unlearnkit.study import config


@pytest.fixture
def talker(tiny_model, tiny_tokenizer, tmp_path):
    trained = Trained(tiny_model("gpt2"), tiny_tokenizer, tmp_path / "ledger")
    return live.Live(trained.model, tiny_tokenizer, trained.book, REQUEST, 1.0)


def weights(talker):
    return {n: p.detach().clone() for n, p in talker.model.named_parameters()}


@pytest.mark.parametrize("method", live.OFFERED)
def test_it_speaks_before_and_after_and_is_put_back(talker, method):
    before = weights(talker)
    said = talker.says("Dave was born in", method, "all", 50.0)
    assert list(said) == ["before", "after"]
    assert [len(texts) for texts in said.values()] == [4, 4]
    assert said["before"] != said["after"]
    assert all(torch.equal(p, before[n]) for n, p in talker.model.named_parameters())
    assert talker.says("Dave was born in", method, "last2", 0.01)["before"] == said["before"]


def test_the_first_text_is_the_greedy_one(talker):
    prompt = "Anna keeps"
    said = talker.says(prompt, "first_epoch", "all", 0.01)
    model, tokenizer = talker.model, talker.tokenizer
    assert said["before"][0] == metrics.spoken(model, tokenizer, prompt, live.TOKENS)
    assert said["before"][1:] == [metrics.spoken(model, tokenizer, prompt, live.TOKENS, k) for k in range(3)]


def test_what_cannot_be_said_leaves_the_model_as_it_was(talker):
    before = weights(talker)
    with pytest.raises(DataError, match="prompt is empty"):
        talker.says("", "first_epoch", "all", 0.1)
    with pytest.raises(MethodError, match="unknown"):
        talker.says("Dave", "frist_epoch", "all", 0.1)
    assert all(torch.equal(p, before[n]) for n, p in talker.model.named_parameters())


def test_without_a_training_one_line_says_which_command_makes_one():
    label = live.panel("quick")
    assert isinstance(label, widgets.Label)
    assert "`make quick`" in label.value
    assert "\n" not in label.value
    assert "`make reproduce PROFILE=default`" in live.panel("default").value


def test_a_training_in_the_cache_is_found(monkeypatch):
    assert live.training("quick") is None
    (seeds, *_) = (c for c in live.study.cells_of(live.profiles.get("quick")) if c.stage == "train")
    (seeds.folder / "ledger").mkdir(parents=True)
    assert live.training("quick") is None  # unfinished
    (seeds.folder / "done.json").write_text("{}")
    assert live.training("quick").key == seeds.key
    assert live.training("quick").seed == 0


@pytest.fixture
def panel(talker, monkeypatch):
    (train, *_) = (c for c in live.study.cells_of(live.profiles.get("quick")) if c.stage == "train")
    monkeypatch.setattr(live, "training", lambda _: train)
    monkeypatch.setattr(live.Live, "of", classmethod(lambda *_: talker))
    return {type(w).__name__ + getattr(w, "description", ""): w for w in live.panel("quick").children}


def test_the_button_says_it(panel, capsys):
    assert panel["Textprompt"].value == "Dave was born in"
    assert [value for _, value in panel["Dropdownmethod"].options] == list(live.OFFERED)
    assert panel["Dropdownlayers"].options == ("all", *config.PRIMARY_LAYERS)
    panel["ButtonSay"].click()
    told = capsys.readouterr().out
    assert told.count("by chance") == 6
    assert told.index("before: ") < told.index("after: ")


def test_an_error_is_told_and_the_next_prompt_works(panel, capsys):
    panel["Textprompt"].value = ""
    panel["ButtonSay"].click()
    assert "error: the prompt is empty" in capsys.readouterr().out
    panel["Textprompt"].value = FACTS[0].prompt
    panel["ButtonSay"].click()
    assert "after: " in capsys.readouterr().out


def test_control_signs_are_told_not_obeyed():
    assert live.told({"before": ["\x1b[2J\r", "a\nb"]}) == "before: '\\x1b[2J\\r'\n    by chance: 'a\\nb'\n"
