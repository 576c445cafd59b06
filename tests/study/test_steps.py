"""The study's stages: which run side by side, and what becomes of the ledgers."""

import pickle

import pandas as pd
import pytest

from unlearnkit import profiles, semantic, study
from unlearnkit.experiments.cells import Cell


@pytest.fixture
def seed(monkeypatch, tmp_path):
    """The stages of one seed (number 1) whose cells only leave a mark, and its fine-tuning."""
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path))
    monkeypatch.delenv(study.KEEP_LEDGERS, raising=False)
    recorded = []

    def train(cell):
        recorded.append(cell.key)
        (cell.folder / "ledger").mkdir()
        return pd.DataFrame({"value": [1.0]})

    monkeypatch.setattr("unlearnkit.experiments.train.train", train)
    monkeypatch.setattr("unlearnkit.experiments.unlearn.paths", lambda _: pd.DataFrame({"value": [1.0]}))

    def make(number):
        config = {"arm": "an arm", "model": "gpt2-tiny-pretrained", "seed": number}
        first = Cell("train", "train", config, "fine-tuning", 1.0)
        walks = [Cell("paths", "unlearn", config | {"layers": n}, n, 1.0, (first,)) for n in ("all", "last2")]
        monkeypatch.setattr(study, "cells", lambda _: [first, *walks])
        return first, [s for s in study.stages(None) if s.outputs], recorded  # those of cells

    return make


def test_a_ledger_goes_with_its_last_reader(seed):
    train, stages, _ = seed(1)
    stages[0].run()
    stages[1].run()
    assert (train.folder / "ledger").is_dir()
    stages[2].run()
    assert not (train.folder / "ledger").exists()
    assert all(stage.done() for stage in stages)


def test_a_model_is_fetched_first_unless_all_that_needs_it_is_done(seed):
    _, stages, _ = seed(1)
    fetch = study.stages(None)[0]
    assert fetch.name == "model gpt2-tiny-pretrained"
    assert not fetch.done()
    for stage in stages:
        assert not fetch.done()
        stage.run()
    assert fetch.done()


def test_seed_0_and_kept_ledgers_stay(seed, monkeypatch):
    train, stages, _ = seed(0)
    for stage in stages:
        stage.run()
    assert (train.folder / "ledger").is_dir()
    train, stages, _ = seed(1)
    monkeypatch.setenv(study.KEEP_LEDGERS, "1")
    for stage in stages:
        stage.run()
    assert (train.folder / "ledger").is_dir()


def test_a_reader_that_is_added_later_has_the_ledger_recorded_again(seed):
    train, stages, recorded = seed(1)
    for stage in stages:
        stage.run()
    (stages[2].outputs[0].parent / "done.json").unlink()
    stages[2].run()
    assert recorded == [train.key, train.key]
    assert stages[2].done()


@pytest.mark.parametrize(
    ("cores", "memory", "at_once"),
    [(2, 12.5e9, True), (4, 24.5e9, True), (2, 11e9, False), (4, 16e9, False), (16, 256e9, False)],
)
def test_seeds_run_side_by_side_where_that_is_quicker_and_fits(cores, memory, at_once, monkeypatch):
    monkeypatch.setattr(study.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(study, "_memory", lambda: memory)
    chains = {}
    for stage in study.stages(profiles.get("default")):
        if not stage.name.startswith("model "):
            chains.setdefault("gpt2-tiny" in stage.group, set()).add(stage.chain)
    assert len(chains[True]) > 40
    assert "" not in chains[True]  # gpt2-tiny's always do
    assert len(chains[False]) == (5 if at_once else 1)  # three seeds, the other recipe, the rewind
    assert ("" in chains[False]) != at_once


def test_an_own_model_has_all_cores():
    own = study.stages(profiles.get("default", {"model": "somebody/else"}))
    assert {stage.chain for stage in own} == {""}


def test_the_matcher_has_one_name():
    assert study.SIMILARITY == semantic.PACKAGE


def test_stages_travel_to_worker_processes():
    """A chain is pickled once: what its cells share must not be written again for each."""
    stages = [
        s for s in study.stages(profiles.get("default")) if s.chain.startswith("gpt2-tiny-pretrained, A")
    ]
    one = [s.run for s in stages if s.chain.endswith("seed 0")]
    assert len(pickle.dumps(one)) < 5e6
