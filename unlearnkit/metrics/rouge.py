"""ROUGE of continuations against the reference answers (Lin 2004)."""

from collections.abc import Sequence

import pandas as pd
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from unlearnkit import writing
from unlearnkit.errors import DataError

MEASURES = ("rouge1", "rouge2", "rougeL")
_STEMMED_FROM = 4  # rouge_score stems words of more than three characters only


class _Words(Tokenizer):
    """rouge_score's tokenizer with the words of every script: `writing.units`, stemmed.

    The library's own keeps [a-z0-9] only: "Łódź" becomes "d" and a Greek name vanishes, so that a wrong
    answer can score 1. On ASCII text the two agree.
    """

    def __init__(self) -> None:
        self._stem = PorterStemmer().stem

    def tokenize(self, text: str) -> list[str]:
        return [self._stem(w) if len(w) >= _STEMMED_FROM else w for w in writing.units(text)]


def rouge(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """ROUGE-1, -2 and -L of each prediction, words stemmed: columns rouge1_recall, rouge1_f, ...

    In scripts without spaces (Chinese, Japanese, Thai, ...) a grapheme cluster counts as a word. ROUGE-2 is 0
    for a reference of one word, as it has no pair. Raises DataError for lists of unequal length and for a
    reference without a word.
    """
    if len(predictions) != len(references):
        raise DataError(f"{len(predictions)} predictions for {len(references)} references: give one for each")
    words = _Words()
    for i, reference in enumerate(references):
        if not words.tokenize(reference):
            raise DataError(f"reference {i} ({reference!r}) has no word, so its ROUGE is undefined")
    scorer = RougeScorer(list(MEASURES), tokenizer=words)
    columns = [f"{m}_{kind}" for m in MEASURES for kind in ("recall", "f")]
    rows = []
    for prediction, reference in zip(predictions, references, strict=True):
        scores = scorer.score(target=reference, prediction=prediction)
        rows.append([v for m in MEASURES for v in (scores[m].recall, scores[m].fmeasure)])
    return pd.DataFrame(rows, columns=columns, dtype=float)
