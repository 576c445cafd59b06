"""A fine-tuning that is killed; apart from the tests, so that a new process can import it."""

import dataclasses
import itertools
import os
import signal
import sys
import threading
from pathlib import Path

import torch
from worlds import DAVE as FACTS
from worlds import RECIPE

from unlearnkit import models, training
from unlearnkit.training import session


def run_and_die(folder: Path, optimizer: str, moment: int | None) -> None:
    """In a child: train, and SIGKILL the process at its `moment`-th function call or return.

    Without a moment it finishes and writes how many there were.
    """
    torch.set_num_threads(1)  # as the tests have it: another number sums in another order
    session.CHECKPOINT_SECONDS = 0.0
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)

    def train(**options):
        model, tokenizer = models.load(str(folder / "model"))
        training.fine_tune(model, tokenizer, FACTS, recipe, progress=False, **options)

    train()  # libraries load parts of themselves at first use
    clock = itertools.count(1)

    def tick(*_):
        if next(clock) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(tick)
    sys.setprofile(tick)
    train(ledger=folder / f"killed-{moment}")
    sys.setprofile(None)
    (folder / f"moments-{optimizer}").write_text(str(next(clock)))
