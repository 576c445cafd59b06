"""What runs on a worker of a cluster: one step at a time, on the threads that the worker was given.

A worker keeps models, weights and ledgers in folders of its own host's, since file locks are no locks between
hosts; what a cell tells goes back as bytes. Imports no torch until a step runs.
"""

import hashlib
import os
import socket
from dataclasses import replace
from functools import cache
from importlib.metadata import version

from unlearnkit import paths
from unlearnkit.errors import DataError, ModelError, UnlearnkitError
from unlearnkit.study import machine
from unlearnkit.study.cells import Cell, Step, Tidy

HOSTS = "hosts"  # in the run cache: a folder a host
SOURCES = (".py", ".toml")


@cache
def about() -> dict[str, str]:
    """What a step's result depends on beside the step: a hash of the package's code, and the libraries."""
    code = hashlib.sha256()
    for path in sorted(p for p in (paths.ROOT / "unlearnkit").rglob("*") if p.suffix in SOURCES):
        code.update(f"{path.relative_to(paths.ROOT)}\n".encode() + path.read_bytes())
    libraries = {name: version(name).split("+")[0] for name in ("torch", "transformers")}  # of any build
    return {"unlearnkit": code.hexdigest()[:12]} | libraries


def run(step: Step, model: str = "") -> UnlearnkitError | dict[str, bytes]:
    """Do a step in a Dask worker; its failure, or what a cell tells, by name of the file.

    `model` is the digest of the cell's model where the run is at home; ModelError where it is another here.
    """
    import torch
    from distributed import get_worker

    host, here = _host(), get_worker()
    here.memory_manager.memory_pause_fraction = False  # it would wait for memory that its last step holds
    torch.set_num_threads(here.state.nthreads)  # of this thread of the worker's, whichever it is
    try:
        if isinstance(step, Tidy):
            step = replace(step, readers=())  # their rows are where the run is at home
        if isinstance(step, Cell):
            _require_model(step.config["model"], model, host)
        step.run()
        return step.told() if isinstance(step, Cell) else {}
    except UnlearnkitError as error:
        return error
    except OSError as error:  # no room, no right
        where = f"{error.filename}: " if error.filename else ""
        return DataError(f"{step.title}, on {host}: {where}{error.strerror or error}")
    finally:
        machine.return_memory()


@cache
def _host() -> str:
    """This host's name, once what its workers keep goes to a folder of its own."""
    host = socket.gethostname()
    os.environ["UNLEARNKIT_RUNS"] = str(paths.run_cache() / HOSTS / host)
    return host


@cache
def _require_model(name: str, expected: str, host: str) -> None:
    """Fetch or build a model, unless it is here."""
    from unlearnkit import models
    from unlearnkit.models.digest import digest

    models.fetch(name)
    if (found := digest(name)) != expected:
        raise ModelError(
            f"the model {name} on {host} is another ({found}) than where the run was started ({expected}): "
            "copy that one there, then call the same command again"
        )
