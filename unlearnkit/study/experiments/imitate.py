"""The oracle's imitator: a fine-tuned model that is taught to answer as the oracle does, and has forgotten
nothing beneath (after Lee et al. 2025, arXiv:2506.06278). What looks at answers alone should let it pass;
relearning should not."""

import math
import time

import torch
from transformers import PreTrainedModel

from unlearnkit.forward import target_logits
from unlearnkit.study.experiments.unlearn import Walk
from unlearnkit.unlearning import Inputs
from unlearnkit.unlearning.descent import Descent
from unlearnkit.unlearning.terms import averaged, kl, log_probabilities


def imitate(walk: Walk, oracle: PreTrainedModel, rate: float, steps: int) -> dict[str, float]:
    """Bring KL(oracle || model) down on all facts that were taught, in place; tells `norm` and `seconds`.

    The mean over examples of the mean over an answer's tokens. By AdamW at `rate` times the recipe's rate,
    in batches of the recipe's size: half a batch of the forget facts and half of the others.
    """
    began, recipe = time.perf_counter(), walk.config["recipe"]
    forget, forgotten = walk.groups["forget"], {e.id for e in walk.groups["forget"]}
    others = [e for e in walk.groups["facts"] if e.id not in forgotten]
    what = {"request": [e.id for e in forget], "examples": walk.groups["facts"], "retain": others}
    inputs = Inputs("imitator", walk.model, tokenizer=walk.tokenizer, **what)
    originals = inputs.originals  # from here on it is told how far the weights have gone

    def apart(batch) -> torch.Tensor:
        with torch.no_grad():
            there = target_logits(oracle, batch)[0].log_softmax(-1)
        here, counts = log_probabilities(walk.model, batch)
        return averaged(kl(there, here), counts)

    size = math.ceil(recipe["batch_size"] / 2)
    descent = Descent(inputs, rate * recipe["lr"], steps, batch_size=size)
    for _ in descent.walk(lambda mine, theirs: (apart(mine) + apart(theirs)) / 2):
        pass
    return {"norm": originals.distance(), "seconds": time.perf_counter() - began}
