"""The close-up of one model: every measure of the study, influence scores among them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import influence, metrics
from unlearnkit.data import Example
from unlearnkit.errors import DivergenceError
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.experiments import measure


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
        [
            measure.long(f[["id", "influence"]].rename(columns={"influence": name}), examples)
            for name, f in found
        ]
    )


def portrait(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: dict,
    groups: dict,
    book: GradientLedger | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Everything: returns the rows and the continuations of the forget facts.

    `groups` holds the examples: all facts, forget, control, retain, holdout. Influence needs the ledger.
    """
    forget = groups["forget"]
    rouge_rows, said = measure.rouge(model, tokenizer, forget)
    parts = [
        measure.facts(model, tokenizer, groups["facts"]),
        measure.facts(model, tokenizer, metrics.paraphrased(forget), "paraphrase"),
        measure.facts(model, tokenizer, groups["holdout"], "holdout"),
        rouge_rows,
        measure.utility(model, tokenizer, config["tokens"]),
    ]
    if book is not None:
        parts.append(influences(model, tokenizer, [*forget, *groups["control"]], book))
    return pd.concat([p for p in parts if len(p)]), said


def curvature(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: dict,
    groups: dict,
    book: GradientLedger,
) -> pd.DataFrame:
    """g^T H g of the first forget and control facts, as many as the configuration says (none: no rows)."""
    reference, count = config["curvature"]
    if not count:
        return pd.DataFrame(columns=measure.COLUMNS)
    chosen = [*groups["forget"][:count], *groups["control"][:count]]
    others = [e for e in groups["facts"] if e not in chosen]
    stride = max(1, len(others) // reference)
    frame = influence.curvature(
        model, tokenizer, others[::stride][:reference], book, [e.id for e in chosen], progress=True
    )
    frame = frame.rename(columns={"influence": "influence_curvature"})
    if not np.isfinite(frame["influence_curvature"]).all():
        raise DivergenceError("a curvature score is not finite: the model has diverged")
    return measure.long(frame, chosen)
