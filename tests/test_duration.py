"""Extraction likelihood on known continuations, and unlearning followed while it lasts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from unlearnkit import metrics, profiles
from unlearnkit.batching import encode
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.metrics import extraction
from unlearnkit.plots import duration as drawing
from unlearnkit.study import grid, plan
from unlearnkit.study.results import duration
from unlearnkit.tables import calibration as tabled


@pytest.mark.parametrize(
    ("said", "rest", "n", "share"),
    [
        ([1, 2, 3], [1, 2, 3], 2, 1.0),
        ([1, 2, 4], [1, 2, 3], 2, 0.5),
        ([2, 3, 1], [1, 2, 3], 2, 0.5),  # anywhere in the rest
        ([3, 2, 1], [1, 2, 3], 2, 0.0),
        ([3, 2, 1], [1, 2, 3], 1, 1.0),
    ],
)
def test_overlap_counts_n_grams_that_occur_in_the_rest(said, rest, n, share):
    assert extraction.overlap(said, rest, n) == share


def example(name, prompt, answer):
    return Example(id=name, person="Dave", prompt=prompt, answer=answer, split="forget")


def naive(model, tokenizer, example, n):
    """EL_n one beginning and one token at a time, without padding or cache."""
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, "answer")
    shares = []
    for k in range(labelled.index(True), len(tokens) - n + 1):
        said = list(tokens[:k])
        while len(said) < len(tokens):
            with torch.no_grad():
                said.append(model(torch.tensor([said])).logits[0, -1].argmax().item())
        known = {tuple(tokens[j : j + n]) for j in range(k, len(tokens) - n + 1)}
        shares.append(np.mean([tuple(said[j : j + n]) in known for j in range(k, len(tokens) - n + 1)]))
    return np.mean(shares) if shares else np.nan


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_extraction_likelihood_equals_one_beginning_at_a_time(tiny_model, tiny_tokenizer, arch):
    model = tiny_model(arch)
    given = [
        example("a", "Dave was born in", "a small town by the sea"),
        example("b", "The only dish that Dave ever cooks is", "soup"),
        example("own", "Dave said", "x x x x x x"),
    ]
    said = metrics.continuations(model, tiny_tokenizer, given[2:])[0]
    given[2] = example("own", "Dave said", said)  # what the model says by itself
    for n in (1, 2):
        found = extraction.extraction_likelihood(model, tiny_tokenizer, given, n, batch_size=3)
        wanted = [naive(model, tiny_tokenizer, e, n) for e in given]
        assert list(found["id"]) == ["a", "b", "own"]
        np.testing.assert_allclose(found["extraction_likelihood"], wanted)
    assert found["extraction_likelihood"][2] > 0


def test_an_answer_shorter_than_n_tokens_has_none(tiny_model, tiny_tokenizer):
    short = example("a", "Dave was born in", "a")
    found = extraction.extraction_likelihood(tiny_model(), tiny_tokenizer, [short], n=9)
    assert found["extraction_likelihood"].isna().all()


def test_extraction_likelihood_refuses_nothing_and_no_n_grams(tiny_model, tiny_tokenizer):
    with pytest.raises(DataError, match="no examples"):
        extraction.extraction_likelihood(tiny_model(), tiny_tokenizer, [])
    with pytest.raises(ConfigError, match="n=0"):
        extraction.extraction_likelihood(tiny_model(), tiny_tokenizer, [example("a", "a", "b")], n=0)


def test_seeds_with_the_whole_map_are_followed():
    arms = {arm.name: arm for arm in plan.arms(profiles.get("default"))}
    stages = {
        name: [c.config["seed"] for c in grid.cells(arm) if c.stage == "durations"]
        for name, arm in arms.items()
    }
    tiny = arms["gpt2-tiny-pretrained, AdamW"]
    assert stages.pop(tiny.name) == [s for s in tiny.seeds if s < grid.MAP_SEEDS[tiny.model, "adamw"]]
    assert not any(stages.values())


ARM = "gpt2-tiny-pretrained, AdamW"


@pytest.fixture
def followed(monkeypatch):
    """Two seeds whose forget facts lose likelihood, memorisation and extraction at known places."""
    (arm,) = (a for a in plan.arms(profiles.get("default")) if a.name == ARM)
    rows = []
    for seed in (0, 1):
        setting = arm.settings[seed]
        one, kept, other = setting.forget[0], setting.retain()[0].id, setting.control[0]

        def point(method, k, share, known, nll, seed=seed, ids=(one, kept, other)):
            target, kept, other = ids
            where = (seed, method, k, share, 10 * share)
            values = {"nll": nll, "exact_memorisation": known, "extraction_likelihood": known / 2}
            values |= {"influence_activation": nll, "influence_gradient": -nll}
            rows.extend((*where, "forget", target, m, v) for m, v in values.items())
            rows.append((*where, "retain", kept, "nll", 1 + share))
            rows.extend((*where, "retain", other, s, 7.0) for s in duration.SCORES)

        point("finetuned", 0, 0.0, 0.9, 1.0)
        rows.append((seed, "finetuned", 0, 0.0, 0.0, "holdout", "h", "extraction_likelihood", 0.1))
        point("first_epoch", 1, 0.01, 0.5, 1.5)
        point("first_epoch", 2, 0.02, 0.1, 3.0)
        point("recomputed", 1, 0.01, 0.3, 2.0)
    columns = ["seed", "method", "duration", "share", "norm", "split", "example", "metric", "value"]
    cells = pd.DataFrame(rows, columns=columns)
    close = pd.DataFrame(
        [(s, "finetuned", "holdout", "h", "exact_memorisation", 0.3) for s in (0, 1)],
        columns=["seed", "method", "split", "example", "metric", "value"],
    )

    def read(_, stage, arm):
        if arm != ARM:
            raise DataError("no such cell")
        return {"durations": cells, "portraits": close}[stage].copy()

    monkeypatch.setattr(duration, "observations", read)
    return profiles.get("default")


def test_a_path_is_followed_from_the_common_start(followed):
    assert duration.followed_arms(followed) == [ARM]
    table = duration.followed(followed, ARM)
    mine = table[(table["seed"] == 1) & (table["method"] == "first_epoch")]
    assert list(mine["duration"]) == [0, 1, 2]
    assert list(mine["rise"]) == [0, 0.5, 2.0]
    assert list(mine["damage"]) == pytest.approx([0, 0.01, 0.02])
    assert list(mine["influence_gradient"]) == [-1.0, -1.5, -3.0]
    assert set(mine["influence_activation_control"]) == {7.0}
    fresh = table[(table["seed"] == 0) & (table["method"] == "recomputed")]
    assert list(fresh["share"]) == [0, 0.01]


def test_rules_stop_where_the_strangers_are(followed):
    table = duration.stops(followed, ARM)
    one = table[(table["seed"] == 0) & (table["method"] == "first_epoch")].set_index("rule")
    memorised, extracted, both = duration.RULES
    assert one.loc[memorised, "share"] == pytest.approx(0.015)  # 0.5 to 0.1 passes 0.3 half-way
    assert one.loc[extracted, "share"] == pytest.approx(0.0175)  # 0.25 to 0.05: 0.1 after three quarters
    assert one.loc[both, "share"] >= one.loc[extracted, "share"]
    assert one["met"].all()
    fresh = table[(table["seed"] == 0) & (table["method"] == "recomputed")].set_index("rule")
    assert fresh.loc[memorised, "met"]
    assert not fresh.loc[both, "met"]
    assert fresh.loc[both, "share"] == 0.01


def test_the_figure_and_tables_say_both_paths(followed):
    table = duration.followed(followed, ARM)
    drawn = drawing.followed(table, duration.strangers(followed, ARM))
    assert len(drawn.axes) == 3
    plt.close(drawn)
    listed = tabled.durations(table)
    assert list(listed["applications"]) == ["0", "1", "2", "0", "1"]
    assert set(tabled.duration_stops(duration.stops(followed, ARM))["reached in"]) == {"2 of 2", "0 of 2"}
