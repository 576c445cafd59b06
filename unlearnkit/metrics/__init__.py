"""What a model knows: plain functions of (model, tokenizer, examples or texts), one value per example.

A metric leaves the model as it was: it puts it in evaluation mode and back, and what teaches it facts or
rounds its weights to see what happens (`relearn`, `quantised`) puts back every bit.
"""

from unlearnkit.metrics.activation import activation_gradient
from unlearnkit.metrics.depth import depth_score, logit_lens, patched_drops
from unlearnkit.metrics.generation import continuations, recalls, samples, spoken
from unlearnkit.metrics.leakage import leak_at_k, leakage
from unlearnkit.metrics.likelihood import known, paraphrased, score
from unlearnkit.metrics.membership import membership
from unlearnkit.metrics.quantisation import quantised
from unlearnkit.metrics.relearning import relearn
from unlearnkit.metrics.rouge import rouge
from unlearnkit.metrics.stopping import as_unknown
from unlearnkit.metrics.text import perplexity

__all__ = [
    "activation_gradient",
    "as_unknown",
    "continuations",
    "depth_score",
    "known",
    "leak_at_k",
    "leakage",
    "logit_lens",
    "membership",
    "paraphrased",
    "patched_drops",
    "perplexity",
    "quantised",
    "recalls",
    "relearn",
    "rouge",
    "samples",
    "score",
    "spoken",
]
