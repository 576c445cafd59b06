"""When to stop unlearning (Jang et al. 2023): once the forget facts are known no better than unseen ones."""

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.data import Example
from unlearnkit.metrics.extraction import NGRAM, extraction_likelihood
from unlearnkit.metrics.likelihood import score


def as_unknown(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    n: int = NGRAM,
) -> Callable[[], bool]:
    """Whether, as the model then stands, both memorisation and extraction of `forget` are at most the levels.

    The levels are means over `unseen` of exact memorisation (their MA, here over the answer's tokens) and of
    extraction likelihood (EL_n), of the model as it stands when this is called: before unlearning. Theirs are
    n = 10 and "below"; a level may be 0 where answers are short. Raises DataError for no examples.
    """
    levels = _known(model, tokenizer, unseen, n)

    def stop() -> bool:
        return all(
            value <= level for value, level in zip(_known(model, tokenizer, forget, n), levels, strict=True)
        )

    return stop


def _known(model, tokenizer, examples: Sequence[Example], n: int) -> tuple[float, float]:
    """Means of exact memorisation and of EL_n; an answer too short for n-grams has no part in the latter."""
    likelihood = extraction_likelihood(model, tokenizer, examples, n)["extraction_likelihood"].dropna()
    memorised = score(model, tokenizer, examples)["exact_memorisation"].mean()
    return memorised, likelihood.mean() if len(likelihood) else 0.0
