"""Chapter 06: whom a request by name reaches, against the ground truth. Needs no experiment."""

import re
from collections.abc import Callable, Mapping
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit import paths, requests
from unlearnkit.data import Example
from unlearnkit.report import tables
from unlearnkit.report.figures import MUTED, figure, note
from unlearnkit.report.run import Arm
from unlearnkit.study import SIMILARITY
from unlearnkit.study.config import FUZZY_THRESHOLD

Matcher = Callable[[list[Example], str], dict[str, float]]
MINILM = "MiniLM"
# Beside the methods' colours; Tol's muted scheme, safe for colour-blind readers.
MATCHERS = {"partial_ratio": "#CC6677", "token_set_ratio": "#44AA99", MINILM: "#332288"}


def matchers() -> dict[str, Matcher]:
    """Matchers by name; MiniLM among them only where its model is in the user's cache already."""
    found = {name: partial(requests.similarities, scorer=name) for name in requests.SCORERS}
    if not (paths.user_cache() / "packages" / SIMILARITY.replace("==", "-")).is_dir():
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


def matcher_table(swept: pd.DataFrame) -> pd.DataFrame:
    """For people, means over targets: at the study's threshold, and at each matcher's best."""
    fixed = swept[swept["threshold"] == FUZZY_THRESHOLD].groupby("matcher").mean(numeric_only=True)
    found = [
        {
            "matcher": matcher,
            "threshold": f"{row['threshold']:.0f} ({label})",
            "facts matched": f"{row['matched']:.1f}",
            **{title: tables.number(row[title.lower()], ".2f") for title in ("precision", "recall", "F1")},
        }
        for matcher, chosen in best(swept).iterrows()
        for label, row in (("the study's", fixed.loc[matcher]), ("best F1", chosen))
    ]
    return tables.frame(found, "matcher", "threshold", "facts matched", "precision", "recall", "F1")


def caught(table: pd.DataFrame, own: pd.Series) -> pd.DataFrame:
    """For people: which share of each kind of fact matches, at the study's threshold and at each own."""
    found = {}
    for matcher, rows in table.groupby("matcher", sort=False):
        levels = {matcher: FUZZY_THRESHOLD, f"{matcher}, at {own[matcher]:.0f}": own[matcher]}
        for title, level in levels.items():
            share = (rows["score"] >= level).groupby(rows["kind"], sort=False).mean()
            found[title] = share.map("{:.0%}".format)
    return pd.DataFrame(found).rename_axis("facts").reset_index()


def meaning(arm: Arm) -> pd.DataFrame:
    """MiniLM cosines of a fact's text with other texts, over seed 0's facts that have them, for people."""
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


def matcher_figure(swept: pd.DataFrame) -> plt.Figure:
    """F1 against the threshold (band: targets), and precision against recall."""
    drawn, (left, right) = figure(3.8, 1, 2, width_ratios=[1.15, 1])
    told = {"hue": "matcher", "palette": MATCHERS}
    sns.lineplot(swept, x="threshold", y="f1", errorbar=("pi", 100), ax=left, **told)
    means = swept.groupby(["matcher", "threshold"], sort=False)[["precision", "recall"]].mean().dropna()
    sns.lineplot(means, x="recall", y="precision", sort=False, estimator=None, lw=1.4, marker="o", ms=3,
                 mew=0, legend=False, ax=right, **told)  # fmt: skip
    sns.scatterplot(best(swept), x="recall", y="precision", s=80, legend=False, ax=right, zorder=3, **told)
    left.axvline(FUZZY_THRESHOLD, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(left, "the study's", (FUZZY_THRESHOLD, 1.03), "data", (-3, 0), ha="right")
    left.set(xlim=(0, 100), ylim=(0, 1.08), ylabel="F1 of the matched set")
    right.set(xlim=(0, 1.04), ylim=(0, 1.08))
    note(right, "large: best F1", (0.03, 0.03), "axes fraction", (0, 0))
    lines = left.get_legend_handles_labels()
    left.get_legend().remove()
    drawn.legend(*lines, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return drawn
