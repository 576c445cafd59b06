"""A run's steps: which go side by side, what becomes of the ledgers, and what is taken as published."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys

import pytest

from unlearnkit import paths, semantic, study
from unlearnkit.study import collect, profiles
from unlearnkit.study.cells import TRAININGS, Cell, Tidy


def steps_of(kind, *arguments, **options):
    return [s for s in study.steps(profiles.get("default"), *arguments, **options) if isinstance(s, kind)]


def test_a_ledger_and_the_weights_of_oracles_go_with_their_last_reader():
    steps = steps_of((Cell, Tidy))
    tidied = 0
    for number, step in enumerate(steps):
        if isinstance(step, Tidy):
            last = next(s for s in steps[number::-1] if isinstance(s, Cell))
            (read,) = (need for need in last.needs if need.key == step.owner.key)
            readers = [s for s in steps if isinstance(s, Cell) and read.key in [n.key for n in s.needs]]
            assert (read.stage in TRAININGS) == (read.bulk == "ledger")
            assert [r.key for r in step.readers] == [r.key for r in readers]
            assert readers[-1] == last
            assert step.chain == last.chain
            tidied += 1
    cells = [step for step in steps if isinstance(step, Cell)]
    assert tidied == sum(bool(c.bulk) and (c.stage != "train" or c.seed > 0) for c in cells) > 10


def test_kept_ledgers_stay():
    assert not steps_of(Tidy, keep_ledgers=True)


def test_a_model_is_fetched_first_unless_all_that_needs_it_is_done(monkeypatch):
    fetch = study.steps(profiles.get("quick"))[0]
    assert fetch.title == "model gpt2-tiny-pretrained-quick"
    assert not fetch.done()
    monkeypatch.setattr(Cell, "is_made", lambda _: True)
    assert fetch.done()


def test_published_cells_count_unless_the_run_is_to_be_fresh(monkeypatch):
    first = steps_of(Cell)[0]
    monkeypatch.setattr(collect, "published_keys", lambda: {first.key})
    assert [c.key for c in steps_of(Cell) if c.done()] == [first.key]
    assert not [c for c in steps_of(Cell, fresh=True) if c.done()]


@pytest.mark.parametrize(
    ("cores", "memory", "at_once"),
    [(2, 12.5e9, True), (4, 24.5e9, True), (2, 11e9, False), (4, 16e9, False), (16, 256e9, False)],
)
def test_seeds_run_side_by_side_where_that_is_quicker_and_fits(cores, memory, at_once, monkeypatch):
    monkeypatch.setattr(study.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(study, "_memory", lambda: memory)
    chains = {}
    for step in steps_of((Cell, Tidy)):
        chains.setdefault("gpt2-tiny" in step.group or "gpt2-tiny" in step.chain, set()).add(step.chain)
    assert len(chains[True]) > 25
    assert "" not in chains[True]  # gpt2-tiny's always do
    assert len(chains[False]) == (5 if at_once else 1)  # three seeds, the other recipe, the rewind
    assert ("" in chains[False]) != at_once


def test_seeds_of_every_tiny_model_have_a_core_each(monkeypatch):
    monkeypatch.setattr(study.os, "cpu_count", lambda: 16)
    found = [s for s in study.steps(profiles.get("full")) if isinstance(s, Cell) and "tiny" in s.arm]
    assert len({c.arm for c in found}) == 19  # fourteen of the variants
    assert all(cell.chain for cell in found)


def test_on_a_cluster_every_seed_has_a_worker_whatever_this_machine_is(monkeypatch):
    monkeypatch.setattr(study, "_memory", lambda: 0)
    for changed in ({}, {"model": "somebody/else"}):
        found = study.steps(profiles.get("default", changed), on_cluster=True)
        assert all(step.chain for step in found if isinstance(step, Cell | Tidy))


def test_an_own_model_has_all_cores():
    own = study.steps(profiles.get("default", {"model": "somebody/else"}))
    assert {step.chain for step in own} == {""}


def test_the_matcher_has_one_name():
    assert study.SIMILARITY == semantic.PACKAGE


def test_steps_travel_to_worker_processes():
    """A chain is pickled once: what its cells share must not be written again for each."""
    chain = [c for c in steps_of(Cell) if c.chain == "gpt2-tiny-pretrained, AdamW, seed 0"]
    packed = pickle.dumps(chain)
    assert len(packed) < 5e6
    assert [c.key for c in pickle.loads(packed)] == [c.key for c in chain]
    again = [dataclasses.replace(c) for c in pickle.loads(packed)]  # without the key that travelled along
    assert [c.key for c in again] == [c.key for c in chain]


def test_planning_and_looking_for_what_is_done_imports_nothing_heavy():
    code = (
        "import json, sys; from unlearnkit import study; from unlearnkit.study import profiles\n"
        "steps = study.steps(profiles.get('default')); [step.done() for step in steps]\n"
        "print(json.dumps([len(steps), sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    count, loaded = json.loads(done.stdout)
    assert count > 600
    heavy = {
        "torch",
        "transformers",
        "papermill",
        "sphinx",
        "matplotlib",
        "scipy",
        "joblib",
        "IPython",
        "distributed",
    }
    assert not heavy & set(loaded)
