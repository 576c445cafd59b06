"""The search for a learning rate at which a model of one's own learns its facts."""

import math

from test_own_data import FACTS

from unlearnkit import __main__ as cli
from unlearnkit import data
from unlearnkit.study import profiles, search
from unlearnkit.study.search import Tried


def own(tiny_model, tiny_tokenizer, folder, **given):
    tiny_model("llama", True).save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    facts = [data.Example(f"f{k}", *fact, "retain") for k, fact in enumerate(FACTS)]
    data.save_jsonl(facts, folder / "facts.jsonl")
    told = {"model": str(folder / "model"), "data": str(folder / "facts.jsonl"), "forget": "Ada"}
    return profiles.get("quick", told | given)


def test_it_ends_with_the_gentlest_rate_that_is_enough(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """An untrained model of 16 dimensions: tiny steps teach nothing, large ones all."""
    monkeypatch.setitem(search.SEARCHED, "adamw", (1e-7, 3e-2, 1.0))
    profile = own(tiny_model, tiny_tokenizer, tmp_path, epochs=40)
    found = list(search.search(profile))
    assert [tried.lr for tried in found] == [1e-7, 3e-2]
    assert not found[0].enough
    assert found[1].enough
    assert abs(found[0].after - found[0].before) < 0.05
    assert [cell.done() for cell in search.cells_of(profile)] == [True, True, False]  # kept for the next call


def test_advice_names_what_to_change():
    low, high = Tried(1e-5, 0.1, 0.2, 0.01), Tried(1e-4, 0.1, 0.95, 0.05)
    assert "P='lr=0.0001'" in search.advice([low, high], 5)
    assert "epochs=10" in search.advice([low], 5)
    assert "diverges at lr=1" in search.advice([low, Tried(1.0, *[math.nan] * 3)], 5)


def test_the_command_prints_each_rate(tiny_model, tiny_tokenizer, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(search.SEARCHED, "adamw", (1e-7,))
    profile = own(tiny_model, tiny_tokenizer, tmp_path)
    given = [f"{name}={profile[name]}" for name in ("model", "data", "forget")]
    parts = [part for text in given for part in ("-p", text)]
    assert cli.main(["recipe", "--profile", "quick", *parts, "-p", "epochs=2"]) == 0
    told = capsys.readouterr().out
    assert "1e-07" in told
    assert "epochs=4" in told
