"""A model, or adapters on one of a billion parameters: recorded, replayed, and how much memory that takes."""

from functools import partial

import torch

from unlearnkit.bench import sides, sizes
from unlearnkit.bench.cases import LEDGERS, PLAIN, REQUEST, Options
from unlearnkit.bench.setting import Setting
from unlearnkit.bench.timing import compared, in_child, scratch, simple
from unlearnkit.bench.unlearn import request
from unlearnkit.devices import CUDA
from unlearnkit.ledger.recording import DTYPE
from unlearnkit.study.machine import peak_memory

BATCHES = 3  # in the ledger that a request of 20 examples is taken from


def adapters(options: Options) -> dict:
    """Sides: a plain step of what is trained, one with the ledger, a request of 20; in a process of its own.

    Beside them bytes an example, the error against autograd, and peak memory, the model's weights included;
    of a GPU its own too.
    """
    return in_child(_adapters, options)


def _adapters(options: Options) -> dict:
    setting = Setting.make(options)
    whole = sum(p.numel() for p in setting.model.parameters())
    steps = sides.STEPS if setting.model.device.type == CUDA else 1  # of which each takes long on a processor
    with scratch() as folder:
        book = setting.recorded(folder / "kept", batches=BATCHES)
        every = {
            PLAIN: sides.plain(setting, steps),
            LEDGERS[DTYPE]: sides.with_ledger(setting, folder / "ledger", DTYPE, steps),
            REQUEST.format(len(book.example_ids)): simple(partial(request, setting, book)),
        }
        found = compared(every, PLAIN, options)
        found |= {"bytes_an_example": book.info()["bytes_per_record"], "dense_bytes": setting.dense_bytes()}
        found["relative_error"] = sizes.error(setting, folder / "exact", DTYPE)
    if setting.model.device.type == CUDA:
        found["device_peak_bytes"] = torch.cuda.max_memory_allocated()
    return found | {"parameters": whole, "trained": setting.dense_bytes() // 4, "peak_bytes": peak_memory()}
