"""What a model knows: plain functions of (model, tokenizer, examples or texts), one value per example.

A metric never trains and never changes the model; it puts the model in evaluation mode and back.
"""

from unlearnkit.metrics.activation import activation_gradient
from unlearnkit.metrics.generation import continuations, samples, spoken
from unlearnkit.metrics.likelihood import paraphrased, score, set_perplexity
from unlearnkit.metrics.rouge import rouge
from unlearnkit.metrics.stopping import as_unknown
from unlearnkit.metrics.text import perplexity

__all__ = [
    "activation_gradient",
    "as_unknown",
    "continuations",
    "paraphrased",
    "perplexity",
    "rouge",
    "samples",
    "score",
    "set_perplexity",
    "spoken",
]
