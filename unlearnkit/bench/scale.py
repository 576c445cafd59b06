"""Recording ten times the examples: resident memory and throughput, each size in a process of its own."""

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

    The small size is repeated in every round; the large one, which repeats itself, runs once.
    """
    setting = Setting.make(options)
    with scratch() as folder:
        probe = sides.recorded(setting, folder / "probe", [setting.examples(0)], "float16")
        bytes_each = probe.info()["bytes_per_record"]
    del setting
    needed = SPARE * bytes_each * SIZES[-1]
    found = []
    for size in SIZES:
        rounds = options.rounds if size == SIZES[0] else 1
        tell(f"  {size} examples, {rounds} times, each in a process of its own")
        runs = [in_child(record, options, size, needed) for _ in range(rounds)]
        rates = [r["examples_a_second"] for r in runs]
        found.append(
            {
                "examples": size,
                "examples_a_second": statistics.median(rates),
                "quartiles": quartiles(rates),
                "rounds": rounds,
                "peak_bytes": statistics.median(r["peak_bytes"] for r in runs),
                "ledger_bytes": runs[0]["ledger_bytes"],
            }
        )
    return {"sizes": found}


def record(options: Options, size: int, needed: float) -> dict:
    """One epoch of training steps over `size` examples with the default ledger, from model to index."""
    setting = Setting.make(options)
    optimizer = setting.optimizer()
    steps = size // setting.batch
    ids = [f"x{step}-{k}" for step in range(steps) for k in range(setting.batch)]
    with scratch(needed) as folder:
        store = ledger.create(folder / "ledger", setting.model, ids, {})
        setting.backward(setting.examples(0))  # warms up
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
