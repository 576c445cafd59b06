"""Chains of steps on the workers of a Dask cluster.

A chain has a worker to itself and stays on it, a step at a time, so that it finds there the ledger that its
first step wrote; what each cell tells comes back when the cell is done. Where a worker dies, its chain goes
on elsewhere with the step at hand, which makes anew what it needs. No file is shared with a worker, only what
pickles, and no weights. Dask is imported when a run asks for it.

It is asked directly since joblib's backend for it gives every call to any worker: a chain as one call would
begin anew where its worker dies, and end the others when that kills too many; in a call a step it would not
find its ledger. Nor does that backend refuse workers with other code, or wait for those that come late.
"""

import contextlib
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple

from unlearnkit.errors import ConfigError, UnlearnkitError
from unlearnkit.models.digest import digest
from unlearnkit.study import worker
from unlearnkit.study.cells import Cell, Step, Tidy
from unlearnkit.study.scheduler import duration, tell

if TYPE_CHECKING:
    from distributed import Future

CONNECT_SECONDS = 10
LOOK_SECONDS = 1.0  # between looks at which workers there are
GATHER_SECONDS = 60  # for what a cell tells, a few MB at most, to come over
PATIENCE_SECONDS = 600  # without any worker
DEATHS = 3  # workers that one step may take with it
START = "start some (`dask worker`, see README), then call the same command again, which goes on from here"
Ended = tuple[str, UnlearnkitError | None]  # a chain's name, and its failure


class Cluster:
    """The workers that a Dask scheduler knows. ConfigError within seconds where none answers."""

    def __init__(self, address: str):
        from distributed import Client  # here, since a local run needs none of it

        self.address = address
        try:
            self.client = Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address}: start one there (`dask scheduler`), or mend the "
                f"address (tcp://HOST:8786). Dask said: {error}"
            ) from error

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def there(self) -> set[str]:
        """The addresses of its workers at the moment. ConfigError where the scheduler is lost."""
        try:
            return set(self.client.nthreads())
        except OSError as error:
            raise ConfigError(
                f"the Dask scheduler at {self.address} is lost ({error}): start it again, then {START}"
            ) from error

    def run(self, chains: Mapping[str, list[Step]]) -> Iterator[Ended]:
        """Run chains, the first ones first; each name with its failure, as they end.

        Workers may come and go meanwhile. ConfigError where the scheduler is lost, where no worker fits, or
        where there is none for `PATIENCE_SECONDS`; whatever else a step raises is raised.
        """
        return _Run(self, chains).ended()


class _Work(NamedTuple):
    """What a worker does: a step of a chain, or for "" telling what it is."""

    chain: str
    future: "Future"
    began: float


class _Run:
    """Chains on their way: those that wait, and what each worker does."""

    def __init__(self, cluster: Cluster, chains: Mapping[str, list[Step]]):
        self.cluster = cluster
        self.left = {name: deque(steps) for name, steps in chains.items()}  # of chains that have not ended
        self.waiting = deque(chains)
        self.busy: dict[str, _Work] = {}  # by worker, as the next two
        self.fit: set[str] = set()
        self.unfit: dict[str, str] = {}  # and why
        self.deaths = Counter[str]()  # by chain, during the step at hand
        self.alone_since: float | None = None

    def ended(self) -> Iterator[Ended]:
        while self.left:
            there = self.cluster.there()
            self.fit &= there
            self.unfit = {address: why for address, why in self.unfit.items() if address in there}
            for address in there:
                self._employ(address)
            self._require_some()
            self._wait()
            for address, work in list(self.busy.items()):
                if work.future.done() or address not in there:
                    del self.busy[address]
                    yield from self._taken(address, work)

    def _employ(self, address: str) -> None:
        """Give a free worker a chain; one that has just come is asked first what it is."""
        if address in self.busy or address in self.unfit:
            return
        if address not in self.fit:
            self._submit(address, "", "what is it?", worker.about)
        elif self.waiting:
            self._begin(address, self.waiting.popleft())

    def _begin(self, address: str, name: str) -> None:
        """The chain's step at hand. A cell's key travels with it, and those of the cells that it needs."""
        step = self.left[name][0]
        if isinstance(step, Cell):
            model = digest(step.config["model"])
            self._submit(address, name, f"{step.title}, {step.key}", worker.run, step, model)
        else:
            self._submit(address, name, step.title, worker.run, step)

    def _submit(self, address: str, name: str, title: str, *what: Any) -> None:
        key = f"{title}, {uuid.uuid4().hex}"  # Dask's: one for each attempt
        future = self.cluster.client.submit(*what, key=key, workers=[address])
        self.busy[address] = _Work(name, future, time.monotonic())

    def _require_some(self) -> None:
        """ConfigError where chains wait and no worker fits, for some time if there is none at all."""
        if self.busy:
            self.alone_since = None
        elif self.unfit:
            raise ConfigError(f"no worker fits. {' '.join(self.unfit.values())} Mend that, or {START}")
        elif self.alone_since is None:
            print("        waiting for workers: there is none", flush=True)
            self.alone_since = time.monotonic()
        elif time.monotonic() - self.alone_since > PATIENCE_SECONDS:
            raise ConfigError(f"no worker for {duration(PATIENCE_SECONDS)}: {START}")

    def _wait(self) -> None:
        """Until a step is done, or it is time to look again which workers there are."""
        from distributed import wait

        if not self.busy:
            time.sleep(LOOK_SECONDS)
            return
        with contextlib.suppress(TimeoutError, CancelledError):
            futures = [work.future for work in self.busy.values()]
            wait(futures, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")

    def _taken(self, address: str, work: _Work) -> Iterator[Ended]:
        """Take what a worker has done, or died of; the chain and its failure, where it ended with that."""
        name = work.chain
        if not name:
            self._judge(address, work.future)
            return
        step, result = self.left[name][0], _result(work.future)
        if result is None:
            yield from self._died(address, name, step)
        elif isinstance(result, UnlearnkitError):
            yield self._end(name, result)
        else:
            _put(step, result)
            self.left[name].popleft()
            del self.deaths[name]
            if not self.left[name]:
                yield self._end(name, None)
                return
            tell(step, time.monotonic() - work.began)
            if address in self.fit:
                self._begin(address, name)
            else:
                self.waiting.appendleft(name)

    def _judge(self, address: str, future: "Future") -> None:
        """A worker is fit if it has the same code and libraries."""
        try:
            found = _result(future)
        except Exception as error:  # whatever other code, or none, answers
            found = {"unlearnkit": f"that cannot say what it is ({error})"}
        own = worker.about()
        if found == own:
            self.fit.add(address)
        elif found:
            other = (f"{k} {found.get(k)} instead of {v}" for k, v in own.items() if found.get(k) != v)
            self.unfit[address] = f"The worker {address} is refused: it has {', '.join(other)}."
            print(f"        {self.unfit[address]}", flush=True)

    def _died(self, address: str, name: str, step: Step) -> Iterator[Ended]:
        """A chain whose worker is gone goes on elsewhere, after those that wait, unless it took too many."""
        self.deaths[name] += 1
        if self.deaths[name] < DEATHS:
            print(f"        {name}: the worker {address} died during: {step.title}", flush=True)
            self.waiting.append(name)
            return
        error = UnlearnkitError(
            f"{step.title} (chain {name}) ended {DEATHS} workers, {address} the last. As a rule, memory is "
            "short: give workers more (`--memory-limit 0`, fewer on a host), or see that worker's log; then "
            "call the same command again, which goes on from there"
        )
        yield self._end(name, error)

    def _end(self, name: str, failure: UnlearnkitError | None) -> Ended:
        del self.left[name]
        return name, failure


def _result(future: "Future") -> Any:
    """What a worker returned; None where it died before that was here. What the work raised is raised."""
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        if future.status in ("finished", "error"):
            return future.result(timeout=GATHER_SECONDS)
    except (TimeoutError, KilledWorker, CommClosedError, CancelledError):
        pass
    future.cancel()
    return None


def _put(step: Step, told: dict[str, bytes]) -> None:
    """Put in place what a worker tells of a step; a ledger to be deleted there may be here, too."""
    if isinstance(step, Cell):
        step.receive(told)
    elif isinstance(step, Tidy):
        step.run()
