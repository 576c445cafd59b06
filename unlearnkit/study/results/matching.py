"""Matchers of a fuzzy request (claim C5): what a request by name finds, against the ground truth.

Needs no experiment. MiniLM, where it can be had, brings torch with it.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from unlearnkit import requests
from unlearnkit.data import Example
from unlearnkit.errors import ModelError
from unlearnkit.study.plan import Arm

Matcher = Callable[[list[Example], str], dict[str, float]]
MINILM = "MiniLM"
THRESHOLDS = tuple(range(101))


def matchers() -> tuple[dict[str, Matcher], str]:
    """Matchers by name, and why MiniLM is not among them ("" if it is)."""
    found = {name: partial(requests.similarities, scorer=name) for name in requests.SCORERS}
    try:
        from unlearnkit import semantic  # here, since it imports torch

        semantic.load()
    except ModelError as error:
        return found, str(error)
    return found | {MINILM: semantic.similarities}, ""


def scores(arm: Arm, matchers: Mapping[str, Matcher]) -> pd.DataFrame:
    """Similarity of every fact to each target's name: target, matcher, example, person, kind, score.

    A target that is no person (a request by ids) has no name to look for, hence no rows.
    """
    settings = {s.target: s for s in arm.settings if any(e.person == s.target for e in s.facts)}
    rows = [
        (target, name, e.id, e.person, kind(e, target, setting.forget), score)
        for target, setting in settings.items()
        for name, match in matchers.items()
        for e, score in zip(setting.facts, match(list(setting.facts), target).values(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["target", "matcher", "example", "person", "kind", "score"])


def kind(example: Example, target: str, forget: tuple[str, ...]) -> str:
    """What a fact is to a request by name: "target", or how its text resembles the name."""
    if example.id in forget:
        return "target"
    if re.search(rf"\b{re.escape(target)}\b", example.text):
        return "about another, names the target"
    if target.lower() in example.text.lower():
        return "another name that contains it"
    return "another name that resembles it" if example.split == "neighbour" else "unrelated"


def sweep(table: pd.DataFrame) -> pd.DataFrame:
    """Every threshold of THRESHOLDS: target, matcher, threshold, matched, precision, recall, f1.

    Where nothing matches, recall and F1 are 0 and precision is not defined.
    """
    found = []
    for (target, matcher), rows in table.groupby(["target", "matcher"], sort=False):
        truth = set(rows.loc[rows["kind"] == "target", "example"])
        for threshold in THRESHOLDS:
            ids = set(rows.loc[rows["score"] >= threshold, "example"])
            precision, recall = requests.precision_recall(ids, truth) if ids else (np.nan, 0.0)
            f1 = 2 * precision * recall / (precision + recall) if ids & truth else 0.0
            found.append((target, matcher, threshold, len(ids), precision, recall, f1))
    columns = ["target", "matcher", "threshold", "matched", "precision", "recall", "f1"]
    return pd.DataFrame(found, columns=columns)


def best(swept: pd.DataFrame) -> pd.DataFrame:
    """Per matcher the threshold with the highest mean F1 over targets (the highest of equals), and the means.

    Chosen with the ground truth in hand: an upper bound of what a user could do.
    """
    if swept.empty:
        return swept.drop(columns="target")
    means = swept.groupby(["matcher", "threshold"], sort=False).mean(numeric_only=True).reset_index()
    order = means.sort_values(["f1", "threshold"]).groupby("matcher", sort=False).tail(1)
    return order.set_index("matcher").reindex(swept["matcher"].unique()).reset_index()


def transferred(swept: pd.DataFrame) -> pd.DataFrame:
    """Each target at the threshold that is best for the others: target, matcher, threshold, f1.

    What a user could do who has labels for some persons and not for this one; no rows for a single target.
    """
    found = []
    for target in swept["target"].unique():
        others, mine = swept[swept["target"] != target], swept[swept["target"] == target]
        if others.empty:
            continue
        chosen = best(others).set_index("matcher")["threshold"]
        found.append(mine[mine["threshold"] == mine["matcher"].map(chosen)])
    columns = ["target", "matcher", "threshold", "f1"]
    return pd.concat(found)[columns] if found else pd.DataFrame(columns=columns)


def caught(table: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Kinds of facts (rows) by matcher (columns): how many of them match, as a share, over all targets."""
    hit = table["score"] >= table["matcher"].map(thresholds)
    return table.assign(hit=hit).pivot_table(index="kind", columns="matcher", values="hit", sort=False)


def paraphrase_scores(arm: Arm) -> pd.DataFrame:
    """MiniLM cosines of each fact's text to others, seed 0: a row a fact that has all of them.

    example, paraphrase (mean over its paraphrases), contradiction (the same prompt with a wrong answer),
    stranger (mean over other persons' facts of the same form). ModelError where MiniLM cannot be had.
    """
    from unlearnkit import semantic  # here, since it imports torch

    columns = ["example", "paraphrase", "contradiction", "stranger"]
    facts = [e for e in arm.settings[0].facts if e.paraphrases and e.contradiction and e.attribute]
    if not facts:
        return pd.DataFrame(columns=columns)
    own = semantic.embed([e.text for e in facts])
    wrong = semantic.embed([f"{e.prompt} {e.contradiction}" for e in facts])
    rows = []
    for k, e in enumerate(facts):
        said = semantic.embed([f"{p} {e.answer}" for p in e.paraphrases])
        like = [j for j, o in enumerate(facts) if o.attribute == e.attribute and o.person != e.person]
        others = (own[like] @ own[k]).mean() if like else np.nan
        rows.append((e.id, (said @ own[k]).mean(), wrong[k] @ own[k], others))
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))
