"""From a model to observation rows: (example, person, split, metric, value), one row a number.

Influence, which only close-ups measure, is in `portrait`.
"""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from unlearnkit import data, metrics
from unlearnkit.data import Example

COLUMNS = ["example", "person", "split", "metric", "value"]
SCORES = ["nll", "exact_memorisation", "n_tokens"]


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


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of every metric over the facts of each split; `example` is the split."""
    table = rows.groupby(["split", "metric"], sort=False)["value"].mean().reset_index()
    return table.assign(example=table["split"], person="")[COLUMNS]


def group_means(groups: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`means` of each group's rows, the group's name being their split; none of a group without facts."""
    return pd.concat([means(part.assign(split=name)) for name, part in groups.items() if len(part)])


def others(rows: pd.DataFrame, control: Collection[str]) -> pd.DataFrame:
    """Means over the retain facts of `rows`, the near-neighbours, and the bystanders, not in `control`."""
    return group_means(
        {
            "retain": rows,
            "neighbour": rows[rows["split"] == "neighbour"],
            "bystander": rows[~rows["example"].isin(control)],
        }
    )


def utility(model, tokenizer, tokens: int) -> pd.DataFrame:
    """NLL (nats a token, the logarithm of perplexity) of the encyclopedia passages, joined to one text.

    Joined, as is usual, so that windows are full: their first tokens, which nothing precedes, weigh little.
    """
    passages = data.utility_text("eval")[: 1 + tokens // 100]  # each has over 100 tokens
    values = metrics.perplexity(model, tokenizer, ["\n\n".join(passages)], max_tokens=tokens)
    return pd.DataFrame([("", "", "utility", "nll", values["nll"])], columns=COLUMNS)


def rouge(model, tokenizer, examples: Sequence[Example]) -> tuple[pd.DataFrame, list[str]]:
    """ROUGE of the greedy continuations, and the continuations."""
    said = metrics.continuations(model, tokenizer, examples)
    frame = metrics.rouge(said, [e.answer for e in examples])
    frame.insert(0, "id", [e.id for e in examples])
    return long(frame, examples), said


def point(model, tokenizer, groups: dict) -> pd.DataFrame:
    """What a path records at every step: forget and retain facts."""
    return facts(model, tokenizer, [*groups["forget"], *groups["retain"]])


def beside(model, tokenizer, groups: dict, tokens: int, with_rouge: bool) -> pd.DataFrame:
    """What a path records at some steps: utility if any tokens; ROUGE of the forget facts if asked for."""
    parts = [rouge(model, tokenizer, groups["forget"])[0]] if with_rouge else []
    parts += [utility(model, tokenizer, tokens)] if tokens else []
    return pd.concat(parts) if parts else pd.DataFrame(columns=COLUMNS)
