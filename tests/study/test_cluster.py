"""Runs on a cluster of processes: the tables of a local run, whatever becomes of the workers."""

import re
import shutil
from contextlib import ExitStack

import dask_processes
import pandas as pd
import pytest
from dask_processes import SEEDS, compute, wait_for
from distributed import LocalCluster

from unlearnkit.errors import ConfigError
from unlearnkit.study import cluster
from unlearnkit.study.cells import Task
from unlearnkit.study.cluster import Cluster

TABLES = ("train.csv.bz2", "oracle.csv.bz2", "path.csv.bz2", "continuations.csv.bz2")
NOTHING = Task(title="nothing", estimate_s=0.0, chain="a", is_done=bool, work=bool)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return dask_processes.create(tmp_path_factory.mktemp("cluster") / "project")


@pytest.fixture(scope="module")
def local(project, tmp_path_factory):
    """The tables of a run without a cluster, which imports no Dask."""
    home = tmp_path_factory.mktemp("local")
    assert compute(project, home).splitlines()[-2:] == ["left:", "dask:"]
    return tables(home)


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Of two workers, by their threads: they share no folder."""
    return {threads: tmp_path_factory.mktemp("homes") / str(threads) for threads in (1, 2)}


@pytest.fixture(scope="module")
def address(project, homes, tmp_path_factory):
    """That of a scheduler with two workers."""
    with ExitStack() as stack:
        found = stack.enter_context(dask_processes.scheduler(tmp_path_factory.mktemp("scheduler")))
        for threads, home in homes.items():
            stack.enter_context(dask_processes.worker(found, project, home, threads))
        wait_for_workers(found, 2)
        yield found


@pytest.fixture(scope="module")
def spread(project, homes, address, tmp_path_factory):
    """Where a run on the cluster has put its own, and what it said."""
    home = tmp_path_factory.mktemp("spread")
    return home, compute(project, home, address)


@pytest.fixture
def switch(project):
    """`switch("path-1", "die")`: what a cell is to do."""
    yield lambda cell, wish: (project.root / "switches" / cell).write_text(wish)
    for file in (project.root / "switches").iterdir():
        file.unlink()


@pytest.fixture
def fresh(address, homes):
    """The scheduler's address, when its workers have made nothing yet."""
    for home in homes.values():
        shutil.rmtree(home / "cache", ignore_errors=True)
    wait_for_workers(address, 2)
    return address


@pytest.fixture
def deserted():
    """The address of a scheduler without workers, in this process."""
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as found:
        yield found


def wait_for_workers(address, count):
    with Cluster(address) as found:
        wait_for(lambda: len(found.there()) == count)


def tables(home):
    return {name: (home / "build/default/data" / name).read_bytes() for name in TABLES}


def test_tables_are_those_of_a_local_run(spread, local):
    home, text = spread
    assert tables(home) == local
    assert f"{4 * SEEDS} steps in {SEEDS} chains, 2 at once" in text
    assert f"{4 * SEEDS}/{4 * SEEDS}  seed " in text
    assert "left:\n" in text


def test_weights_and_ledgers_stay_where_they_are_made(spread, homes):
    home, _ = spread
    names = {p.name for p in (home / "cache").rglob("*") if p.is_file()}
    assert names == {"observations.csv", "continuations.json", "done.json"}
    for other in homes.values():
        assert list(other.glob("cache/hosts/*/train/*/weights.safetensors"))  # each had its share
        assert not list(other.rglob("gradient"))  # the ledgers are deleted


def test_a_step_has_the_threads_that_its_worker_was_given(spread, homes):
    home, _ = spread
    rows = pd.concat(pd.read_csv(p) for p in (home / "cache").rglob("observations.csv"))
    assert set(rows.loc[rows["metric"] == "threads", "value"]) == set(homes)


def test_a_second_call_runs_nothing(project, spread, address):
    home, _ = spread
    times = {p: p.stat().st_mtime_ns for p in (home / "cache").rglob("*.*")}
    assert "steps in" not in compute(project, home, address)
    assert {p: p.stat().st_mtime_ns for p in (home / "cache").rglob("*.*")} == times


def test_a_chain_goes_on_elsewhere_where_its_worker_is_killed_in_mid_cell(
    project, local, fresh, tmp_path, switch
):
    switch("path-1", "die once")
    text = compute(project, tmp_path, fresh)
    assert text.count("died during: path 1") == 1
    assert "failure:" not in text
    assert tables(tmp_path) == local


def test_a_cell_that_ends_its_workers_is_named_and_others_go_on(project, local, fresh, tmp_path, switch):
    switch("oracle-0", "die")
    text = compute(project, tmp_path, fresh)
    assert text.count("died during: oracle 0") == cluster.DEATHS - 1
    assert f"failure: oracle 0 (chain seed 0) ended {cluster.DEATHS} workers" in text
    assert "left: / oracle 0 / path 0 / tidy\n" in text
    switch("oracle-0", "")
    assert "3 steps in 1 chains, 1 at once" in compute(project, tmp_path, fresh)
    assert tables(tmp_path) == local


def test_a_failing_cell_ends_its_chain_only(project, fresh, tmp_path, switch):
    switch("oracle-1", "diverge")
    switch("path-2", "no room")
    text = compute(project, tmp_path, fresh)
    failures = sorted(line for line in text.splitlines() if line.startswith("failure:"))
    assert failures[0].startswith("failure: path 2, on ")
    assert failures[0].endswith(": a file: No space left on device")
    assert failures[1:] == ["failure: too far"]
    assert "left: / oracle 1 / path 1 / tidy / path 2 / tidy\n" in text


def test_a_worker_with_other_code_is_refused_by_name_and_others_work(project, local, fresh, tmp_path, switch):
    other, asked = project.copy(tmp_path / "other"), tmp_path / "wrong" / "asked"
    other.replace(
        "unlearnkit/study/worker.py", "    code =", f"    open({str(asked)!r}, 'w').close()\n    code ="
    )
    switch("train-0", str(asked))  # waits for that
    with dask_processes.worker(fresh, other, asked.parent):
        wait_for_workers(fresh, 3)
        text = compute(project, tmp_path / "home", fresh)
    refused = re.findall(r"The worker tcp://\S+ is refused: it has unlearnkit \w+ instead of \w+\.", text)
    assert len(refused) == 1
    assert tables(tmp_path / "home") == local
    assert not (asked.parent / "cache").exists()


def test_a_run_that_no_worker_fits_ends_with_all_their_names(address):
    """The code of the workers here is the throw-away project's."""
    with Cluster(address) as found, pytest.raises(ConfigError, match="no worker fits") as caught:
        list(found.run({"a": [NOTHING]}))
    assert str(caught.value).count("is refused: it has unlearnkit") == 2
    assert cluster.START in str(caught.value)


def test_an_unreachable_scheduler_is_told_before_a_folder_is_made(project, tmp_path, monkeypatch):
    copy = project.copy(tmp_path / "copy")
    copy.replace("unlearnkit/study/cluster.py", "CONNECT_SECONDS = 10", "CONNECT_SECONDS = 1")
    text = copy.run("reproduce", "--scheduler", "tcp://127.0.0.1:9", status=2)
    assert "error: no Dask scheduler answers at tcp://127.0.0.1:9: start one there (`dask scheduler`)" in text
    assert "Traceback" not in text
    assert not (copy.root / "build").exists()


def test_an_address_of_no_known_kind_is_told():
    with pytest.raises(ConfigError, match="no Dask scheduler answers at carrier-pigeon://host:1"):
        Cluster("carrier-pigeon://host:1")


def test_a_run_without_workers_ends(deserted, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.3)
    with Cluster(deserted.scheduler_address) as found:
        assert not found.there()
        with pytest.raises(ConfigError, match="no worker for 0 s: start some"):
            list(found.run({"a": [NOTHING]}))
    assert capsys.readouterr().out.count("waiting for workers") == 1


def test_a_lost_scheduler_is_told(deserted, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.05)
    with Cluster(deserted.scheduler_address) as found:
        deserted.close()
        with pytest.raises(ConfigError, match="is lost .*: start it again"):
            list(found.run({"a": [NOTHING]}))
