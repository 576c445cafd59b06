"""Peak resident memory, always of a process of its own: of every side, and of ten times the examples."""

import statistics
from concurrent.futures.process import BrokenProcessPool

from unlearnkit.bench import sides
from unlearnkit.bench.cases import PLAIN, Options
from unlearnkit.bench.setting import Setting
from unlearnkit.bench.timing import chosen, in_child, quartiles, reason, scratch, tell
from unlearnkit.ledger.recording import DTYPE
from unlearnkit.study.machine import peak_memory, reset_peak_memory

TURNS = 2  # of a side whose peak is taken
SIZES = (1_000, 10_000)  # examples recorded
SPARE = 1.3  # factor on the room that one batch foresees


def memory(options: Options) -> dict:
    """Peak bytes of each side, and with only the model loaded."""
    setting = Setting.make(options)
    with scratch(sides.room(setting)) as folder:
        peers = {name: s.peer for name, s in chosen(sides.every(setting, folder), options.only).items()}
    del setting
    peaks, missing, loaded = {}, {}, 0
    for name, peer in peers.items():
        tell(f"  {name}, in a process of its own")
        try:
            loaded, peaks[name] = in_child(peak, options, name)
        except BrokenProcessPool:
            missing[name] = "its process was killed, most likely for want of memory"
        except Exception as error:
            missing[name] = reason(peer, error)
    return {"peak_bytes": peaks, "loaded_bytes": loaded, "missing": missing, "baseline": PLAIN}


def peak(options: Options, name: str) -> tuple[int, int]:
    """Resident bytes of this process with the model loaded, and at the peak of some turns of a side."""
    setting = Setting.make(options)
    with scratch() as folder:
        side = sides.every(setting, folder)[name]
        reset_peak_memory()
        loaded = peak_memory()
        for number in range(TURNS):
            with side.open() as turn:
                turn(number)
        return loaded, peak_memory()


def scale(options: Options) -> dict:
    """Peak memory and examples a second of training with the default ledger, at both sizes.

    The small size runs in every round, half of them before and half after the large one, which repeats itself
    and runs once: a machine that grows faster or slower meanwhile favours neither.
    """
    small, large = SIZES
    with scratch() as folder:
        each = Setting.make(options).recorded(folder / "one").info()["bytes_per_record"]
    before = -(-options.rounds // 2)
    runs: dict[int, list[tuple]] = {small: [], large: []}
    for size in [small] * before + [large] + [small] * (options.rounds - before):
        tell(f"  {size} examples, in a process of their own")
        runs[size].append(in_child(epoch, options, size, SPARE * each * large))
    found = []
    for size, taken in runs.items():
        rates, peaks = zip(*taken, strict=True)
        rate = {"examples_a_second": statistics.median(rates), "quartiles": quartiles(list(rates))}
        found.append({"examples": size, **rate, "rounds": len(taken), "peak_bytes": statistics.median(peaks)})
    return {"sizes": found}


def epoch(options: Options, size: int, needed: float) -> tuple[float, int]:
    """Examples a second and peak bytes of an epoch of `size` examples, which takes `needed` bytes of disk."""
    setting = Setting.make(options)
    setting.backward(setting.examples(0))  # warms up
    with scratch(needed) as folder:
        side = sides.with_ledger(setting, folder, DTYPE, size // setting.batch)
        reset_peak_memory()
        return size / side.seconds(0), peak_memory()
