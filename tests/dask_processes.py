"""A Dask scheduler and workers in processes of their own, and a project whose cells run on them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tiny_project import Project

SEEDS = 4
STUDY = f'''
"""Seeds of a training with a ledger, two cells that read it, and the deletion of the ledger."""
from unlearnkit.study.cells import Cell, Tidy

def steps(profile, fresh=False, keep_ledgers=False, on_cluster=False):
    found = []
    for seed in range({SEEDS}):
        told = dict(module="observe", arm="an arm", seed=seed, chain=f"seed {{seed}}", estimate_s=1.0)
        config = {{"model": profile["model"], "seed": seed}}
        train = Cell(title=f"training {{seed}}", stage="train", config=config, **told)
        oracle = Cell(title=f"oracle {{seed}}", stage="oracle", config=config, needs=(train,), **told)
        path = Cell(title=f"path {{seed}}", stage="path", config=config, needs=(train, oracle), **told)
        tidy = Tidy(title="tidy", estimate_s=0.1, chain=f"seed {{seed}}", owner=train, readers=(oracle, path))
        found += [train, oracle, path, tidy]
    return found
'''
OBSERVE = '''
"""Experiments that leave what real ones do; a file in `switches`, named by stage and seed, fails them."""
import os, signal, time
import pandas as pd
import torch
from unlearnkit import files, paths
from unlearnkit.errors import DivergenceError

def _rows(cell, value):
    switch = paths.ROOT / "switches" / f"{cell.stage}-{cell.seed}"
    wish = switch.read_text() if switch.is_file() else ""
    if wish == "die once":
        switch.unlink()
    if wish.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if wish == "diverge":
        raise DivergenceError("too far")
    if wish == "no room":
        raise OSError(28, "No space left on device", "a file")
    while wish.startswith("/") and not os.path.exists(wish):
        time.sleep(0.1)
    threads = torch.get_num_threads()
    return pd.DataFrame({"metric": ["nll", "threads"], "value": [value, threads], "split": "forget"})

def train(cell):
    (cell.folder / "ledger").mkdir(exist_ok=True)
    files.write_text(cell.folder / "ledger" / "gradient", str(1 + cell.seed))
    files.write_text(cell.folder / "weights.safetensors", "0" * 1000)
    return _rows(cell, cell.seed)

def oracle(cell):
    (train,) = cell.needs
    files.write_text(cell.folder / "weights.safetensors", "0" * 1000)
    files.write_text(cell.folder / "continuations.json", '{"ids": ["a"], "said": {"oracle": ["yes"]}}')
    return _rows(cell, 10 * int((train.folder / "ledger" / "gradient").read_text()))

def path(cell):
    train, oracle = cell.needs
    assert (oracle.folder / "weights.safetensors").is_file()
    return _rows(cell, 100 * int((train.folder / "ledger" / "gradient").read_text()))
'''
TORCH = '''
"""In the place of torch, which takes seconds to import in each worker: how many threads it has."""
threads = 1

def set_num_threads(count):
    global threads
    threads = count

def get_num_threads():
    return threads
'''
RUN = """
import sys
from unlearnkit import study
from unlearnkit.study import collect, profiles, scheduler
from unlearnkit.study.cells import Cell

profile, (address, *_) = profiles.get("default"), [*sys.argv[1:], ""]
steps = study.steps(profile, on_cluster=bool(address))
cluster = None
if address:
    from unlearnkit.study.cluster import Cluster
    cluster = Cluster(address)
for failure in scheduler.run([s for s in steps if not s.done()], cluster):
    print("failure:", failure)
if cluster:
    cluster.client.close()
cells = [s for s in steps if isinstance(s, Cell)]
if all(cell.done() for cell in cells):
    collect.collect(profile, cells)
print("left:", *(step.title for step in steps if not step.done()), sep=" / ")
print("dask:", *({"dask", "distributed"} & set(sys.modules)))
"""


def create(root: Path) -> Project:
    """The project's tree."""
    project = Project(root).create()
    (root / "unlearnkit/study/__init__.py").write_text(STUDY)
    (root / "unlearnkit/study/experiments/observe.py").write_text(OBSERVE)
    (root / "torch.py").write_text(TORCH)
    (root / "switches").mkdir()
    return project


def compute(project: Project, home: Path, address: str = "") -> str:
    """Run the project's cells, on a cluster where there is an address; all that it makes is below `home`."""
    process = subprocess.run(
        [sys.executable, "-c", RUN, *filter(None, [address])],
        cwd=project.root,
        env=project.environment() | folders(home),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def folders(home: Path) -> dict[str, str]:
    """The variables that put a run's folders below `home`."""
    return {"UNLEARNKIT_RUNS": str(home / "cache"), "UNLEARNKIT_BUILD": str(home / "build")}


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    """The address of a scheduler."""
    told = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
    with _process(folder / "scheduler.log", folder, os.environ, "scheduler", *options):
        wait_for(lambda: told.is_file() and told.read_text().endswith("}"))  # Dask writes it piece by piece
        yield json.loads(told.read_text())["address"]


@contextmanager
def worker(address: str, project: Project, home: Path, threads: int = 1) -> Iterator[None]:
    """A worker with the project's code, which keeps all that is its own below `home`."""
    home.mkdir()
    options = ("--nthreads", str(threads), "--memory-limit", "0", "--no-dashboard")
    where = (address, "--local-directory", str(home / "scratch"))
    with _process(
        home / "log", project.root, project.environment() | folders(home), "worker", *where, *options
    ):
        yield


@contextmanager
def _process(log: Path, root: Path, environment: Mapping[str, str], *arguments: str):
    """A `dask` command while it is wanted, started in `root`, whose package it imports."""
    with log.open("w") as output:
        command = [sys.executable, "-m", "dask", *arguments]
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_for(condition, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)
