"""Fine-tuning on facts, with the ledger beside it, and same-order oracles.

Loss and order are fixed by the contract that makes leave-out exact: a step's loss is (1/B) sum_i l_i with B
the configured batch size, also in a short batch; the order is drawn over all examples, excluded ones are
then dropped from their batches without re-batching, and an emptied batch makes no optimizer step.

recipe       how to fine-tune: order, rates, what stays frozen
fine_tuning  doing it
session      its tie to a ledger's folder: checkpoints and resumption
steps        the optimizer steps that a recipe comes to
history      what it leaves of its way where asked to, beside the ledger; replaying: going on from there
shards       a training in parts that can be deleted from
adapters     low-rank adapters (LoRA) on the blocks
"""

from unlearnkit.training.fine_tuning import Run, fine_tune
from unlearnkit.training.history import History
from unlearnkit.training.recipe import LR_SCHEDULES, OPTIMIZERS, Recipe, freeze, schedule
from unlearnkit.training.shards import Shards

__all__ = ["LR_SCHEDULES", "OPTIMIZERS", "History", "Recipe", "Run", "Shards"]
__all__ += ["fine_tune", "freeze", "schedule"]
