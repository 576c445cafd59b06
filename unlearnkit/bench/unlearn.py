"""Applying a forget request from the ledger, against a training step and against retraining without it.

Retraining is measured outright, once: as many plain steps as the retain examples and the default number of
epochs ask for. How the ratio grows with data and epochs follows from seconds a step; the time of an
application is measured at several sizes of the ledger.
"""

from unlearnkit import data, unlearning
from unlearnkit.bench import sides
from unlearnkit.bench.setting import LEARNING_RATE, Options, Setting
from unlearnkit.bench.timing import Side, chosen, interleaved, scratch, simple, summary
from unlearnkit.ledger import record_batches
from unlearnkit.training import Recipe

REQUEST = 20  # examples to forget
SIZES = (24, 112, 224)  # examples in the ledger, the request among them
RETRAINING = "retraining"


def run(options: Options) -> dict:
    """Sides: a plain step; a first-epoch request of 20 from ledgers of several sizes; retraining, once."""
    setting = Setting.make(options)
    examples, epochs = len(data.dave(seed=0)), Recipe().epochs
    steps = epochs * -(-(examples - REQUEST) // setting.batch)
    with scratch() as folder:
        every = {sides.PLAIN: sides.plain(setting)}
        for size in SIZES:
            every[side_name(size)] = _request(setting, folder / str(size), size)
        every[RETRAINING] = _retraining(setting, steps)
        picked = {sides.PLAIN: every[sides.PLAIN]} | chosen(every, options.only)
        seconds, missing = interleaved(picked, options.rounds)
    return {
        **summary(seconds, sides.PLAIN),
        "missing": missing,
        "request": REQUEST,
        "sizes": list(SIZES),
        "retraining": {"examples": examples - REQUEST, "epochs": epochs, "steps": steps},
    }


def side_name(size: int) -> str:
    """Name of the side that applies a request from a ledger of so many examples."""
    return f"request from {size}"


def _request(setting: Setting, path, size: int) -> Side:
    """All layers, applied; the ledger was recorded before. Each batch's first examples are asked for."""
    batches = [setting.examples(seed) for seed in range(-(-size // setting.batch))]
    book = record_batches(setting.model, batches, path, divisor=setting.batch, dtype="float16")
    stride = len(book.example_ids) / REQUEST  # spread over the ledger, as a person's facts are
    asked = [book.example_ids[int(k * stride)] for k in range(REQUEST)]

    def turn(_round: int) -> None:
        # The plain steps between the turns move the weights away from where the ledger was recorded.
        unlearning.apply(
            "first_epoch",
            setting.model,
            request=asked,
            ledger=book,
            alpha=LEARNING_RATE,
            check_model=False,
        )

    return simple(turn)


def _retraining(setting: Setting, steps: int) -> Side:
    return Side(sides.plain(setting, steps).open, rounds=1)
