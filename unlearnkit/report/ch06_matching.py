"""Chapter 06: whom a request by name reaches, against the ground truth. Needs no experiment."""

import re
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from unlearnkit import packages, requests
from unlearnkit.data import Example
from unlearnkit.report import tables
from unlearnkit.report.run import Arm
from unlearnkit.study import SIMILARITY

Matcher = Callable[[list[Example], str], dict[str, float]]
MINILM = "MiniLM"


def matchers() -> dict[str, Matcher]:
    """Matchers by name; MiniLM among them only where its model is in the user's cache already."""
    found = {name: partial(requests.similarities, scorer=name) for name in requests.SCORERS}
    if not packages.kept(SIMILARITY).is_dir():
        return found
    from unlearnkit import semantic  # here, since it imports torch

    return found | {MINILM: semantic.similarities}


def scores(arm: Arm, matchers: Mapping[str, Matcher]) -> pd.DataFrame:
    """Similarity of every fact to each target's name: target, matcher, example, kind, score.

    A target that is no person (a request by ids) has no name to look for, hence no rows.
    """
    settings = {s.target: s for s in arm.settings if any(e.person == s.target for e in s.facts)}
    rows = [
        (target, name, e.id, kind(e, target, setting.forget), score)
        for target, setting in settings.items()
        for name, match in matchers.items()
        for e, score in zip(setting.facts, match(list(setting.facts), target).values(), strict=True)
    ]
    return tables.frame(rows, "target", "matcher", "example", "kind", "score")


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
    """Every threshold from 0 to 100: target, matcher, threshold, matched, precision, recall, f1.

    Where nothing matches, recall and F1 are 0 and precision is not defined.
    """
    found = []
    for (target, matcher), rows in table.groupby(["target", "matcher"], sort=False):
        truth = set(rows.loc[rows["kind"] == "target", "example"])
        for threshold in range(101):
            ids = set(rows.loc[rows["score"] >= threshold, "example"])
            precision, recall = requests.precision_recall(ids, truth) if ids else (np.nan, 0.0)
            f1 = 2 * precision * recall / (precision + recall) if ids & truth else 0.0
            found.append((target, matcher, threshold, len(ids), precision, recall, f1))
    return tables.frame(found, "target", "matcher", "threshold", "matched", "precision", "recall", "f1")


def best(swept: pd.DataFrame) -> pd.DataFrame:
    """By matcher, the threshold with the highest mean F1 over targets (the highest of equals), and the means.

    Chosen with the ground truth in hand: an upper bound of what a user could do.
    """
    if swept.empty:
        return swept.set_index("matcher")
    means = swept.groupby(["matcher", "threshold"], sort=False).mean(numeric_only=True).reset_index()
    order = means.sort_values(["f1", "threshold"]).groupby("matcher", sort=False).tail(1)
    return order.set_index("matcher").reindex(swept["matcher"].unique())


def transferred(swept: pd.DataFrame) -> pd.Series:
    """By matcher, mean F1 of each target at the threshold that is best for the others; none for one target.

    What a user could do who has labels for some persons and not for this one.
    """
    found = []
    for target in swept["target"].unique():
        chosen = best(swept[swept["target"] != target])["threshold"]
        mine = swept[swept["target"] == target]
        found.append(mine[mine["threshold"] == mine["matcher"].map(chosen)])
    return pd.concat(found or [swept]).groupby("matcher", sort=False)["f1"].mean()


def meaning(arm: Arm) -> pd.DataFrame:
    """MiniLM cosines of a fact's text with others: mean, min, max over seed 0's facts that have them."""
    facts = [e for e in arm.settings[0].facts if e.paraphrases and e.contradiction and e.attribute]
    columns = ("its own paraphrases", "the same words, a wrong answer", "another person, same form")
    if MINILM not in matchers() or not facts:
        return tables.frame([], "compared with", "mean", "min", "max")
    from unlearnkit import semantic  # here, since it imports torch

    own = semantic.embed([e.text for e in facts])
    wrong = semantic.embed([f"{e.prompt} {e.contradiction}" for e in facts])
    said = semantic.embed([f"{p} {e.answer}" for e in facts for p in e.paraphrases])
    said = np.split(said, np.cumsum([len(e.paraphrases) for e in facts])[:-1])
    rows = []
    for k, e in enumerate(facts):
        like = [j for j, o in enumerate(facts) if o.attribute == e.attribute and o.person != e.person]
        other = (own[like] @ own[k]).mean() if like else np.nan
        rows.append(((said[k] @ own[k]).mean(), wrong[k] @ own[k], other))
    cosines = pd.DataFrame(rows, columns=list(columns), dtype=float)
    return cosines.agg(["mean", "min", "max"]).T.rename_axis("compared with").reset_index()
