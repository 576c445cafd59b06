"""Applying a forget request from the ledger, against a training step and against retraining without it."""

import shutil
import tempfile
from pathlib import Path

from unlearnkit import ledger, unlearning
from unlearnkit.bench.setting import LEARNING_RATE, Setting, interleaved, report

REQUEST = 20  # examples to forget
EXAMPLES, EPOCHS = 110, 5  # the study's data and default epochs, for the retraining side


def run(setting: Setting, rounds: int, only: list[str]) -> dict:
    """Sides: a plain step, and first-epoch unlearning of 20 examples; retraining is so many plain steps."""
    folder = Path(tempfile.mkdtemp(prefix="unlearnkit-bench-"))
    optimizer = setting.optimizer()
    batches = [setting.examples(seed) for seed in range(-(-REQUEST // setting.batch))]
    ids = [i for batch in batches for i in batch.ids]
    store = ledger.create(folder / "ledger", setting.model, ids, {})
    with ledger.Recorder(setting.model, store) as recorder:
        for number, batch in enumerate(batches):
            setting.model.zero_grad(set_to_none=False)
            recorder.expect(batch, range(len(batch.ids)))
            setting.backward(batch)
            recorder.finish(1, number, LEARNING_RATE)
        recorder.commit(1)
    book = ledger.GradientLedger(store)

    def plain(number: int) -> None:
        setting.step(setting.examples(100 + number), optimizer)

    def unlearn(_number: int) -> None:
        unlearning.apply(
            "first_epoch", setting.model, request=ids[:REQUEST], ledger=book, alpha=LEARNING_RATE
        )

    sides = {"plain": plain, "unlearning.apply": unlearn}
    try:
        seconds = interleaved(sides, rounds, only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = report(seconds, "plain")
    steps = EPOCHS * -(-(EXAMPLES - REQUEST) // setting.batch)
    return result | {
        "request": REQUEST,
        "retraining_steps": steps,
        "retraining_epochs": EPOCHS,
        "faster_than_retraining": {n: steps / r for n, r in result["ratio"].items() if n != "plain"},
    }
