"""From a model to observation rows: (example, person, split, metric, value), one row a number.

A portrait holds everything that the study measures of one model; a path point only what a path needs.
"""

from collections.abc import Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import data, influence, metrics
from unlearnkit.data import Example
from unlearnkit.ledger import GradientLedger

COLUMNS = ["example", "person", "split", "metric", "value"]
SCORES = ["nll", "probability", "exact_memorisation", "extraction_strength", "n_tokens"]


def long(frame: pd.DataFrame, examples: Sequence[Example], split: str = "") -> pd.DataFrame:
    """A metric's frame (a row per example) as rows of single numbers; `split` overrides the examples' own."""
    told = {e.id: e for e in examples}
    values = [c for c in frame.columns if c not in ("id", "person", "split")]
    rows = frame.melt(id_vars="id", value_vars=values, var_name="metric")
    rows = rows.rename(columns={"id": "example"})
    rows["person"] = [told[i].person for i in rows["example"]]
    rows["split"] = [split or told[i].split for i in rows["example"]]
    return rows[COLUMNS]


def facts(model, tokenizer, examples: Sequence[Example], split: str = "") -> pd.DataFrame:
    """Likelihood measures of each fact; no rows for no facts."""
    if not examples:
        return pd.DataFrame(columns=COLUMNS)
    return long(metrics.score(model, tokenizer, examples)[["id", *SCORES]], examples, split)


def utility(model, tokenizer, tokens: int) -> pd.DataFrame:
    """Perplexity, bits per character and NLL of encyclopedia text."""
    values = metrics.perplexity(model, tokenizer, data.utility_text("eval"), max_tokens=tokens)
    kept = {m: values[m] for m in ("nll", "perplexity", "bits_per_character")}
    return pd.DataFrame([("", "", "utility", m, v) for m, v in kept.items()], columns=COLUMNS)


def rouge(model, tokenizer, examples: Sequence[Example]) -> tuple[pd.DataFrame, list[str]]:
    """ROUGE of the greedy continuations, and the continuations."""
    said = metrics.continuations(model, tokenizer, examples)
    frame = metrics.rouge(said, [e.answer for e in examples])
    frame.insert(0, "id", [e.id for e in examples])
    return long(frame, examples), said


def influences(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    book: GradientLedger,
) -> pd.DataFrame:
    """The two cheap influence scores of the model as it stands: activation-gradient, and stored-now dots."""
    found = [
        ("influence_activation", metrics.activation_gradient(model, tokenizer, examples)),
        ("influence_gradient", influence.gradient_dot(book, model, tokenizer, examples)),
    ]
    return pd.concat(
        [long(f[["id", "influence"]].rename(columns={"influence": name}), examples) for name, f in found]
    )


def point(model, tokenizer, forget, retain, tokens: int) -> pd.DataFrame:
    """What a path records at each step: forget and retain facts, ROUGE of the forget facts, utility."""
    said, _ = rouge(model, tokenizer, forget)
    parts = [facts(model, tokenizer, [*forget, *retain]), said, utility(model, tokenizer, tokens)]
    return pd.concat(parts)


def portrait(model, tokenizer, config: dict, groups: dict, book: GradientLedger | None):
    """Everything: returns the rows and the continuations of the forget facts.

    `groups` holds the examples: all facts, forget, control, retain, holdout. Influence needs the ledger.
    """
    forget, retain = groups["forget"], groups["retain"]
    rouge_rows, said = rouge(model, tokenizer, [*forget, *retain])
    parts = [
        facts(model, tokenizer, groups["facts"]),
        facts(model, tokenizer, metrics.paraphrased(forget), "paraphrase"),
        facts(model, tokenizer, groups["holdout"], "holdout"),
        rouge_rows,
        utility(model, tokenizer, config["tokens"]),
    ]
    if book is not None:
        parts.append(influences(model, tokenizer, [*forget, *groups["control"]], book))
    return pd.concat([p for p in parts if len(p)]), said[: len(forget)]
