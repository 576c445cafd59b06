"""Greedy continuations of the prompts, and ROUGE of them against the reference answers (Lin 2004)."""

from collections.abc import Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import writing
from unlearnkit.batching import Batch, across, collate, encode
from unlearnkit.data import Example
from unlearnkit.errors import DataError
from unlearnkit.forward import evaluation_mode, selected
from unlearnkit.metrics.forward import by_length

MEASURES = ("rouge1", "rouge2", "rougeL")
_STEMMED_FROM = 4  # rouge_score stems words of more than three characters only


@torch.no_grad()
def continuations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 32,
) -> list[str]:
    """What the model says after each prompt, greedily, in as many tokens as the reference answer has.

    In input order; the prompt is not part of it, nor its end where that is in the answer's first token. The
    model's generation settings (sampling, penalties) play no role. An end-of-text token ends the continuation
    early.
    """
    said: dict[int, str] = {}
    with evaluation_mode(model):
        for indices in by_length(examples, batch_size):
            prompts, counts = [], []
            for i in indices:
                tokens, labelled = encode(tokenizer, examples[i].prompt, examples[i].answer, "answer")
                counts.append(sum(labelled))
                start = len(tokens) - counts[-1]
                if start == 0 or counts[-1] == 0:
                    raise DataError(f"example {examples[i].id!r} has no prompt or no answer to continue with")
                prompts.append((tokens[:start], labelled[:start]))
            batch = collate(prompts, [examples[i].id for i in indices], pad_id=0, side="left")
            new = greedy(model, batch, max(counts)).tolist()
            for i, row, count in zip(indices, new, counts, strict=True):
                known = across(tokenizer, examples[i].prompt, examples[i].answer)
                said[i] = _decode(tokenizer, row[:count]).removeprefix(known).strip()
    return [said[i] for i in range(len(examples))]


def greedy(model: PreTrainedModel, batch: Batch, steps: int) -> torch.Tensor:
    """The next `steps` argmax tokens after each left-padded row, shape (B, steps)."""
    inputs = batch.inputs() | {"use_cache": True}
    new = []
    for _ in range(steps):
        output = selected(model, inputs, lambda hidden: hidden[:, -1:])
        new.append(output.logits[:, -1].argmax(-1, keepdim=True))
        inputs = {
            "input_ids": new[-1],
            "attention_mask": F.pad(inputs["attention_mask"], (0, 1), value=1),
            "position_ids": inputs["position_ids"][:, -1:] + 1,
            "past_key_values": output.past_key_values,
            "use_cache": True,
        }
    return torch.cat(new, dim=1)


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    end = tokenizer.eos_token_id
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    return tokenizer.decode(tokens, skip_special_tokens=True).strip()


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
