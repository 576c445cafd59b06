"""Turns, ratios, folders and processes."""

import os
import re

import pytest
from bench_helpers import TINY

from unlearnkit import paths
from unlearnkit.bench import steps, timing
from unlearnkit.bench.cases import Options
from unlearnkit.errors import ConfigError


def test_interleaving_counts_no_warm_up_and_drops_peers_that_fail(capsys, monkeypatch):
    monkeypatch.setattr(os, "sync", lambda: None)
    turns = []

    def broken(_round):
        raise RuntimeError("cannot do\nthis")

    sides = {
        "a": timing.simple(lambda k: turns.append(("a", k))),
        "b": timing.simple(lambda k: turns.append(("b", k)), rounds=1),
        "c": timing.simple(broken, peer="pytest"),
        "d": timing.simple(broken, peer="no-such-package"),
    }
    seconds, missing = timing.interleaved(sides, 2)
    assert turns == [("a", 0), ("a", 1), ("b", 1), ("a", 2)]
    assert {n: len(s) for n, s in seconds.items()} == {"a": 2, "b": 1}
    assert missing["c"].startswith("pytest ")
    assert missing["c"].endswith("fails with RuntimeError: cannot do")
    assert "no-such-package is not installed" in missing["d"]
    assert "min to go" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="cannot do"):
        timing.interleaved({"own": timing.simple(broken)}, 1)


def test_summary_takes_ratios_within_rounds():
    found = timing.summary({"base": [1.0, 2.0, 4.0], "x": [2.0, 6.0, 4.0], "once": [3.0]}, "base")["sides"]
    assert found["x"]["ratio"] == 2.0
    assert found["x"]["ratio_quartiles"] == [1.5, 2.5]
    assert found["x"]["median"] == 4.0
    assert found["once"]["ratio"] == 3.0
    assert found["once"]["quartiles"] == [3.0, 3.0]


def test_unknown_side_and_full_disk_are_named():
    with pytest.raises(ConfigError, match="unknown side 'vmop'; known: plain step"):
        steps.ledger(Options(TINY, 2, 4, 1, ("vmop",)))
    with pytest.raises(ConfigError, match="UNLEARNKIT_RUNS"), timing.scratch(1e18):
        pass


def test_a_process_is_told_to_keep_its_memory(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert timing.in_child(timing.freed_memory, environment=timing.KEEP) == timing.KEPT
    assert os.environ["MALLOC_MMAP_MAX_"] == "7"
    assert timing.freed_memory() == timing.HANDED_BACK
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    told = dict(re.findall(r"reproduce: export (\w+) = (\d+)", (paths.ROOT / "Makefile").read_text()))
    assert told == timing.KEEP
