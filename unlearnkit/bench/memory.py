"""Peak resident memory of every way to take a step, each in a process of its own."""

from concurrent.futures.process import BrokenProcessPool

from unlearnkit.bench import sides
from unlearnkit.bench.setting import Options, Setting
from unlearnkit.bench.timing import chosen, in_child, reason, scratch, tell
from unlearnkit.experiments.cells import peak_memory, reset_peak_memory

TURNS = 2


def run(options: Options) -> dict:
    """Peak bytes of each side, and with only the model loaded."""
    setting = Setting.make(options)
    with scratch(2 * options.batch * setting.dense_bytes()) as folder:
        every = sides.every(setting, folder)
    peers = {name: side.peer for name, side in chosen(every, options.only).items()}
    del setting, every
    peaks, missing, loaded = {}, {}, 0
    for name, peer in peers.items():
        tell(f"  {name}, in a process of its own")
        try:
            loaded, peaks[name] = in_child(peak, options, name)
        except BrokenProcessPool:
            missing[name] = "its process was killed, most likely for want of memory"
        except Exception as error:
            if not peer:
                raise
            missing[name] = reason(peer, error)
    return {"peak_bytes": peaks, "loaded_bytes": loaded, "missing": missing, "baseline": sides.PLAIN}


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
