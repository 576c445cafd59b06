"""Who is measured, and what before and after come to."""

import pytest
from worlds import FACTS

from unlearnkit.data import Example
from unlearnkit.publishing import gauge
from unlearnkit.publishing.gauge import Groups, compared, look, verdict

OTHERS = [
    Example("o1", "Dana", "Dana was born in", "the village of Oster Hill", "retain"),
    Example("o2", "Eli", "Eli paints", "very large birds", "retain"),
    Example("o3", "Eli", "Eli sleeps", "on a raft", "retain"),
]


def seen(forget, retain, perplexity):
    def of(values):
        return {"nll": sum(values) / len(values), "recalled": len(values), "each": values}

    groups = {"forget": of(forget), "retain": of(retain), "neighbours": of(retain)}
    return groups | {"text": {"perplexity": perplexity}}


def test_neighbours_are_those_most_like_a_forgotten_fact(monkeypatch):
    monkeypatch.setattr(gauge, "NEIGHBOURS", 1)
    groups = Groups.of([*OTHERS, FACTS[0]], [FACTS[0].id])
    assert groups.forget == FACTS[:1]
    assert groups.retain == OTHERS
    assert groups.neighbours == OTHERS[:1]
    named = Example("o4", "Finn", "Finn hums", "at noon", "neighbour")
    assert Groups.of([*OTHERS, named, FACTS[0]], [FACTS[0].id]).neighbours == [named]


def test_of_many_others_some_are_measured_from_everywhere(monkeypatch):
    monkeypatch.setattr(gauge, "MEASURED", 2)
    assert [e.id for e in Groups.of(FACTS, ["f6"]).retain] == ["f1", "f4"]


def test_before_and_after_side_by_side():
    found = compared(seen([1.0, 2.0], [0.5], 10.0), seen([5.0, 3.0], [0.75], 11.0), level=4.0)
    assert found["forget"] == {
        "nll_before": 1.5, "nll_after": 4.0, "recalled_before": 2, "recalled_after": 2,
        "facts": 2, "damage": 2.5, "level": 4.0, "at_level": 1, "lowest": 3.0,
    }  # fmt: skip
    assert found["retain"]["damage"] == 0.25
    assert found["text"] == {"perplexity_before": 10.0, "perplexity_after": 11.0}
    assert verdict(found) == "not passed"  # both are still said word for word
    found["forget"]["recalled_after"] = 0
    assert verdict(found) == "passed"
    found["forget"]["level"] = 4.001
    assert verdict(found) == "not passed"


def test_the_numbers_are_those_of_the_metrics(tiny_model, tiny_tokenizer, monkeypatch):
    from unlearnkit import data, metrics

    monkeypatch.setattr(data, "utility_text", lambda part: ["The river runs past the old station. " * 9])
    model, groups = tiny_model(), Groups(FACTS[:2], FACTS[2:5], FACTS[2:3])
    found = look(model, tiny_tokenizer, groups)
    for name, facts in {"forget": FACTS[:2], "retain": FACTS[2:5], "neighbours": FACTS[2:3]}.items():
        assert found[name]["nll"] == pytest.approx(metrics.score(model, tiny_tokenizer, facts)["nll"].mean())
    text = metrics.perplexity(model, tiny_tokenizer, data.utility_text("eval"))
    assert found["text"]["perplexity"] == pytest.approx(text["perplexity"], rel=1e-5)
