"""Fine-tuning that records every example's gradient, and can be interrupted.

recipe       how to fine-tune, and the order of examples
fine_tuning  the loop
session      a fine-tuning tied to a ledger folder: checkpoints, resumption
"""

from unlearnkit.training.fine_tuning import fine_tune, freeze
from unlearnkit.training.recipe import LR_SCHEDULES, OPTIMIZERS, Recipe, schedule
from unlearnkit.training.session import Run

__all__ = ["LR_SCHEDULES", "OPTIMIZERS", "Recipe", "Run", "fine_tune", "freeze", "schedule"]
