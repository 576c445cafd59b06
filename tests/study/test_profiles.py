"""Runs: profiles, what a user changes in them, and the folder they go to."""

import pytest

from unlearnkit.errors import ConfigError, ModelError
from unlearnkit.study import profiles


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))


def test_a_run_is_named_by_what_was_overridden():
    quick = profiles.get("quick")
    assert profiles.get("quick", {"model": quick["model"]}) == quick
    mine = profiles.get("quick", {"model": "me/mine"})
    assert mine["model"] == "me/mine"
    assert mine.name.startswith("quick-")
    assert mine.name != profiles.get("quick", {"model": "me/yours"}).name
    with pytest.raises(ConfigError, match="unknown run"):
        profiles.get(mine.name)
    profiles.record(mine)
    assert profiles.get(mine.name) == mine
    assert profiles.get(mine.name, {"model": quick["model"]}) == quick


def test_values_that_no_run_could_use_are_refused():
    with pytest.raises(ConfigError, match="parameter seeds_adamw=-1: use a whole number from 0"):
        profiles.get("quick", {"seeds_adamw": -1})


def test_a_run_is_named_by_the_content_of_its_data(tmp_path):
    (tmp_path / "tofu").mkdir()
    part = tmp_path / "tofu" / "forget01.json"
    part.write_bytes(b"caf\xe9")  # another complains of it
    named = {profiles.get("quick", {"data": str(where)}).name for where in (part, part.parent)}
    part.write_bytes(b"other")
    named |= {profiles.get("quick", {"data": str(where)}).name for where in (part, part.parent)}
    assert len(named) == 4
    for missing in ("nowhere.jsonl", "null\0.jsonl"):
        with pytest.raises(ConfigError, match="the data .* cannot be read"):
            profiles.get("quick", {"data": missing})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"profile": "quick", "overrides": 3}'])
def test_a_damaged_note_of_a_run_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "quick-1234").mkdir()
    (tmp_path / "quick-1234" / "profile.json").write_text(text)
    with pytest.raises(ConfigError, match="profile.json is damaged: delete the folder"):
        profiles.get("quick-1234")


def test_the_built_in_study_is_told_from_a_user_s_own():
    assert profiles.is_built_in(profiles.get("quick"))
    assert profiles.is_built_in(profiles.get("quick", {"seeds_adamw": 1}))
    for own in ({"model": "me/mine"}, {"forget": "Rosa"}, {"lr": 1e-3}, {"optimizer": "sgd"}):
        assert not profiles.is_built_in(profiles.get("quick", own))


def test_what_is_a_users_own_keeps_its_meaning_elsewhere(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    tiny_model().save_pretrained(tmp_path / "mine")
    tiny_tokenizer.save_pretrained(tmp_path / "mine")
    (tmp_path / "facts.jsonl").write_text('{"prompt": "Ada keeps", "answer": "bees"}\n')
    monkeypatch.chdir(tmp_path)
    found = profiles.own("quick", {"model": "mine", "data": "facts.jsonl", "forget": "line-1"})
    assert (found["model"], found["data"]) == (str(tmp_path / "mine"), str(tmp_path / "facts.jsonl"))
    with pytest.raises(ConfigError, match="--data: there is no file nothing.jsonl"):
        profiles.own("quick", {"data": "nothing.jsonl"})
    with pytest.raises(ModelError, match="unknown model 'theirs'"):
        profiles.own("quick", {"model": "theirs"})
    with pytest.raises(ConfigError, match="parameter lr=0"):
        profiles.own("quick", {"lr": 0})
