"""Recording ten times the examples: resident memory and throughput, each size in a process of its own."""

import os
import statistics
import time

from unlearnkit import ledger
from unlearnkit.bench import sides
from unlearnkit.bench.setting import Options, Setting
from unlearnkit.bench.timing import in_child, quartiles, scratch, tell
from unlearnkit.experiments.cells import peak_memory, reset_peak_memory

SIZES = (1_000, 10_000)
PROBE = 8  # examples recorded to foresee the room that is needed
SPARE = 1.3


def run(options: Options) -> dict:
    """Peak memory and examples a second of training with the default ledger, at both sizes.

    The small size runs in every round, half of them before and half after the large one, which repeats itself
    and runs once: a machine that grows faster or slower meanwhile favours neither.
    """
    setting = Setting.make(options)
    with scratch() as folder:
        batch = setting.examples(0)
        probe = ledger.record_batches(setting.model, [batch], folder / "probe", dtype="float16")
        bytes_each = probe.info()["bytes_per_record"]
    del setting
    needed = SPARE * bytes_each * SIZES[-1]
    small, large = SIZES
    before = -(-options.rounds // 2)
    runs: dict[int, list[dict]] = {small: [], large: []}
    for size in [small] * before + [large] + [small] * (options.rounds - before):
        tell(f"  {size} examples, in a process of their own")
        runs[size].append(in_child(record, options, size, needed))
    return {"sizes": [_told(size, taken) for size, taken in runs.items()]}


def _told(size: int, runs: list[dict]) -> dict:
    rates = [r["examples_a_second"] for r in runs]
    return {
        "examples": size,
        "examples_a_second": statistics.median(rates),
        "quartiles": quartiles(rates),
        "rounds": len(runs),
        "peak_bytes": statistics.median(r["peak_bytes"] for r in runs),
        "ledger_bytes": runs[0]["ledger_bytes"],
    }


def record(options: Options, size: int, needed: float) -> dict:
    """One epoch of training steps over `size` examples with the default ledger, from model to index."""
    setting = Setting.make(options)
    optimizer = setting.optimizer()
    steps = size // setting.batch
    ids = [f"x{step}-{k}" for step in range(steps) for k in range(setting.batch)]
    with scratch(needed) as folder:
        store = ledger.create(folder / "ledger", setting.model, ids, {})
        setting.backward(setting.examples(0))  # warms up
        os.sync()  # what another process wrote is not waited for
        reset_peak_memory()
        started = time.perf_counter()
        with ledger.Recorder(setting.model, store) as recorder:
            for step in range(steps):
                sides.record(setting, recorder, setting.examples(step), 1, step)
                optimizer.step()
            recorder.commit(1)
        seconds = time.perf_counter() - started
        info = ledger.GradientLedger(store).info()
    return {
        "examples_a_second": len(ids) / seconds,
        "peak_bytes": peak_memory(),
        "ledger_bytes": info["bytes"],
    }
