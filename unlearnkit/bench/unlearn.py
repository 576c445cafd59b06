"""Applying a forget request from the ledger, against a training step and against retraining without it.

Retraining is measured outright, once: as many plain steps as the retain examples and the default number of
epochs ask for. How the ratio grows with data and epochs follows from seconds a step; the time of an
application is measured at several sizes of the ledger.
"""

from dataclasses import replace
from functools import partial

from unlearnkit import data, ledger, unlearning
from unlearnkit.bench import sides
from unlearnkit.bench.cases import PLAIN, REQUEST, RETRAINING, Options
from unlearnkit.bench.setting import LEARNING_RATE, Setting
from unlearnkit.bench.timing import compared, scratch, simple
from unlearnkit.training import Recipe

ASKED = 20  # examples to forget
SIZES = (24, 112, 224)  # examples in the ledger, the request among them


def unlearn(options: Options) -> dict:
    """Sides: a plain step; a first-epoch request of 20 from ledgers of several sizes; retraining, once."""
    setting = Setting.make(options)
    stays, epochs = len(data.dave(seed=0)) - ASKED, Recipe().epochs
    steps = epochs * -(-stays // setting.batch)
    with scratch() as folder:
        every = {PLAIN: sides.plain(setting)}
        for size in SIZES:
            book = setting.recorded(folder / str(size), batches=-(-size // setting.batch))
            every[REQUEST.format(size)] = simple(partial(request, setting, book))
        every[RETRAINING] = replace(sides.plain(setting, steps), pieces=1, rounds=1)
        found = compared(every, PLAIN, options)
    told = {"examples": stays, "epochs": epochs, "steps": steps}
    return found | {"request": ASKED, "sizes": list(SIZES), "retraining": told}


def request(setting: Setting, book: ledger.GradientLedger, _round: int) -> None:
    """Apply a request on all layers, its examples spread over the ledger, as a person's facts are.

    The plain steps between the turns move the weights away from where the ledger was recorded.
    """
    ids = book.example_ids
    asked = [ids[k * len(ids) // ASKED] for k in range(ASKED)]
    given = {"request": asked, "ledger": book, "alpha": LEARNING_RATE, "check_model": False}
    unlearning.apply("first_epoch", setting.model, **given)
