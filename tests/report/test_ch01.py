"""Chapter 01: what a training did, from a handful of made-up observations."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unlearnkit.data import Example
from unlearnkit.report import ch01_data as chapter

COLUMNS = ["seed", "example", "person", "split", "metric", "value", "epoch", "method"]


def fact(name: str, person: str, split: str = "retain", attribute: str = "pet") -> Example:
    return Example(id=name, prompt="p", answer="two words", person=person, split=split, attribute=attribute)


def arm_of(rows: list[tuple], **options) -> SimpleNamespace:
    """An arm that observed these rows, whatever the stage."""
    table = pd.DataFrame(rows, columns=COLUMNS)
    given = {"name": "m, AdamW", "seeds": (0,), "targets": ["Eve"], "target_of": {0: "Eve"}}
    by_stage = {"oracle": table[table["method"] == "oracle"], "portraits": table[table["method"] != "oracle"]}
    return SimpleNamespace(observations=lambda stage: by_stage.get(stage, table), **given | options)


def memorised(person: str, split: str, count: int) -> list[tuple]:
    return [
        (0, f"{person}{k}", person, split, "exact_memorisation", e / 4, e, "finetuned")
        for k in range(count)
        for e in range(4)
    ]


def test_learned_is_the_last_epoch_and_perplexity_the_exponential_of_running_text():
    rows = memorised("Ann", "retain", 2)
    rows += [(0, "", "", "utility", "nll", value, e, "finetuned") for e, value in ((0, 3.0), (3, 3.2))]
    found = chapter.learned(pd.DataFrame(rows, columns=COLUMNS)).loc[0]
    assert found["start"] == 0
    assert found["exact_memorisation"] == 0.75
    assert found["perplexity_change"] == pytest.approx(np.exp(0.2) - 1)


def test_the_target_is_held_against_all_others_but_the_near_neighbours():
    rows = memorised("Ann", "retain", 2) + memorised("Bob", "neighbour", 1)
    rows += [(*row[:5], 1.0, *row[6:]) for row in memorised("Eve", "forget", 1)]
    found = chapter.memorisation(arm_of(rows))
    assert found.groupby("whose").size().to_dict() == {"others": 4, "target": 4}
    last = found[found["epoch"] == 3].set_index("whose")["value"]
    assert last.to_dict() == {"others": 0.75, "target": 1.0}


def test_perplexity_of_a_set_weighs_answers_by_their_tokens():
    rows = []
    for name, nll, tokens in (("x", 1.0, 3), ("y", 2.0, 1)):
        rows += [(0, name, "Eve", "forget", "nll", nll, np.nan, "oracle")]
        rows += [(0, name, "Eve", "forget", "n_tokens", tokens, np.nan, "oracle")]
    rows.append((0, "", "", "utility", "nll", 2.5, np.nan, "oracle"))
    table = chapter.perplexities(arm_of(rows))
    assert list(table.index) == ["forget", "utility"]
    assert table["oracle"].tolist() == pytest.approx([np.exp(1.25), np.exp(2.5)])
    other = [(1, *row[1:5], 5.0, *row[6:]) if row[4] == "nll" else (1, *row[1:]) for row in rows]
    both = arm_of(rows + other)
    assert chapter.perplexities(both)["oracle"]["utility"] > np.exp(2.5)
    pd.testing.assert_frame_equal(chapter.perplexities(both, [0]), table)


def test_yardstick_counts_only_kinds_of_facts_that_the_hold_out_has():
    held = (fact("h1", "Zoe"), fact("h2", "Yan"))
    mine = (fact("e1", "Eve", "forget"), fact("e2", "Eve", "forget", attribute="debt"))
    setting = SimpleNamespace(holdout=held, facts=mine, forget=("e1", "e2"), target="Eve")
    values = {"h1": 4.0, "h2": 2.0, "e1": 3.0, "e2": 99.0}
    rows = [
        (0, name, "", "holdout" if name[0] == "h" else "forget", "nll", value, np.nan, method)
        for name, value in values.items()
        for method in ("oracle", "finetuned")
    ]
    setting.seed = 0
    table = chapter.yardstick(arm_of(rows, settings=[setting])).set_index("person")
    assert table["oracle"].to_dict() == {"Zoe": 4.0, "Yan": 2.0, "Eve": 3.0}
    assert table["is_target"].to_dict() == {"Zoe": False, "Yan": False, "Eve": True}
    setting.holdout = ()
    assert not len(chapter.yardstick(arm_of(rows, settings=[setting])))


def test_one_person_may_be_held_out_of_one_seed_and_the_target_of_another():
    one = SimpleNamespace(seed=0, holdout=(fact("z", "Zoe"),), facts=(), forget=(), target="Eve")
    two = SimpleNamespace(seed=1, holdout=(fact("y", "Yan"),), facts=(fact("z", "Zoe", "forget"),))
    two.forget, two.target = ("z",), "Zoe"
    told = [(0, "z", "holdout", 4.0), (1, "z", "forget", 3.0), (1, "y", "holdout", 5.0)]
    rows = [(s, i, "", split, "nll", value, np.nan, "oracle") for s, i, split, value in told]
    table = chapter.yardstick(arm_of(rows, settings=[one, two]))
    assert table[["seed", "person", "is_target", "oracle"]].to_numpy().tolist() == [
        [0, "Zoe", False, 4.0],
        [1, "Yan", False, 5.0],
        [1, "Zoe", True, 3.0],
    ]
