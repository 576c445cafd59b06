"""Runs on a cluster of processes: the tables of a local run, whatever becomes of the workers."""

import shutil

import dask_processes
import pandas as pd
import pytest
from dask_processes import SEEDS, Processes, compute, wait_for
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
def processes(project, tmp_path_factory):
    """Two workers, which share no folder; `homes` are theirs."""
    with Processes(tmp_path_factory.mktemp("processes")) as found:
        found.homes = [found.worker(project, f"worker-{threads}", threads) for threads in (1, 2)]
        there(found, 2)
        yield found


@pytest.fixture
def switch(project):
    """`switch("path-1", "die")`: what a cell is to do."""
    yield lambda cell, wish: (project.root / "switches" / cell).write_text(wish)
    for file in (project.root / "switches").iterdir():
        file.unlink()


@pytest.fixture
def fresh(processes):
    """Workers that have made nothing yet."""
    for home in processes.homes:
        shutil.rmtree(home / "cache", ignore_errors=True)
    there(processes, 2)
    return processes


@pytest.fixture
def deserted():
    """The address of a scheduler without workers, in this process."""
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as found:
        yield found


def there(processes, count):
    with Cluster(processes.address) as found:
        wait_for(lambda: found.size() == count)


def tables(home):
    return {name: (home / "build/default/data" / name).read_bytes() for name in TABLES}


def test_tables_are_those_of_a_local_run_and_files_stay_where_they_were_made(project, local, fresh, tmp_path):
    text = compute(project, tmp_path, fresh.address)
    assert tables(tmp_path) == local
    assert f"{4 * SEEDS} steps in {SEEDS} chains, 2 at once" in text
    assert f"{4 * SEEDS}/{4 * SEEDS}  seed " in text
    assert "left:\n" in text
    names = {p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()}
    assert names == {"observations.csv", "continuations.json", "done.json"}
    for home in fresh.homes:
        assert list(home.glob("cache/hosts/*/train/*/weights.safetensors"))  # each had its share
        assert not list(home.rglob("gradient"))  # the ledgers are deleted


def test_a_step_has_the_threads_that_its_worker_was_given(project, fresh, tmp_path):
    compute(project, tmp_path, fresh.address)
    rows = pd.concat(pd.read_csv(p) for p in (tmp_path / "cache").rglob("observations.csv"))
    assert set(rows.loc[rows["metric"] == "threads", "value"]) == {1, 2}


def test_a_second_call_runs_nothing(project, fresh, tmp_path):
    compute(project, tmp_path, fresh.address)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.*")}
    assert "steps in" not in compute(project, tmp_path, fresh.address)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.*")} == times


def test_a_chain_goes_on_elsewhere_where_its_worker_is_killed_in_mid_cell(
    project, local, fresh, tmp_path, switch
):
    switch("path-1", "die once")
    text = compute(project, tmp_path, fresh.address)
    assert "died during: path 1" in text
    assert text.count("FAILED") == 0
    assert tables(tmp_path) == local


def test_a_cell_that_kills_its_workers_is_named_and_others_go_on(project, local, fresh, tmp_path, switch):
    switch("oracle-0", "die")
    text = compute(project, tmp_path, fresh.address)
    assert text.count("died during: oracle 0") == cluster.DEATHS - 1
    assert f"failure: oracle 0 (chain seed 0) ended {cluster.DEATHS} workers" in text
    assert "--memory-limit" in text
    assert "left: / oracle 0 / path 0 / tidy\n" in text
    switch("oracle-0", "")
    assert "3 steps in 1 chains, 1 at once" in compute(project, tmp_path, fresh.address)
    assert tables(tmp_path) == local


@pytest.mark.parametrize(
    ("wish", "told"), [("diverge", "too far"), ("no room", "a file: No space left on device")]
)
def test_a_failing_cell_ends_its_chain_only(project, fresh, tmp_path, switch, wish, told):
    switch("oracle-2", wish)
    text = compute(project, tmp_path, fresh.address)
    (failure,) = [line for line in text.splitlines() if line.startswith("failure:")]
    assert failure.endswith(told)
    assert "left: / oracle 2 / path 2 / tidy\n" in text


def test_a_worker_with_other_code_is_refused_by_name_and_others_work(project, local, fresh, tmp_path):
    other = dask_processes.create(tmp_path / "other")
    other.replace("unlearnkit/study/experiments/observe.py", "Experiments", "Other experiments")
    with Processes(tmp_path) as apart:
        apart.worker(other, "wrong")
        there(apart, 1)
        with pytest.raises(
            AssertionError, match="no worker fits. The worker tcp://.* is refused: it has unl"
        ):
            compute(project, tmp_path / "home", apart.address)
        apart.worker(project, "right")
        there(apart, 2)
        assert "is refused: it has unlearnkit" in compute(project, tmp_path / "home", apart.address)
    assert tables(tmp_path / "home") == local


def test_workers_without_this_code_are_all_refused(processes):
    """Theirs is the throw-away project's."""
    with Cluster(processes.address) as found, pytest.raises(ConfigError) as caught:
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
        assert found.size() == 0
        with pytest.raises(ConfigError, match="no worker for 0 s: start some"):
            list(found.run({"a": [NOTHING]}))
    assert capsys.readouterr().out.count("waiting for workers") == 1


def test_a_lost_scheduler_is_told(deserted, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.05)
    with Cluster(deserted.scheduler_address) as found:
        deserted.close()
        with pytest.raises(ConfigError, match="is lost .*: start it again"):
            list(found.run({"a": [NOTHING]}))
