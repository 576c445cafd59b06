"""Requests compared (claim C5): matchers by name, and fuzzy, exact and iterative removal on their paths."""

import re
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from unlearnkit import requests
from unlearnkit.data import Example
from unlearnkit.errors import ModelError
from unlearnkit.experiments.readings import at, start
from unlearnkit.profiles import Profile
from unlearnkit.study.plan import Arm
from unlearnkit.study.results.calibration import levels, with_holm
from unlearnkit.study.results.observed import arm_of, observations
from unlearnkit.study.results.paths import along, matched_damage, paired, path_table

Matcher = Callable[[list[Example], str], dict[str, float]]
MINILM = "MiniLM"
THRESHOLDS = tuple(range(101))
COMPARED = ("first_epoch", "fuzzy", "iterative", "iterative_reversed", "wrong_person", "random_direction")
PAIRS = (  # the claim's contrast first; then each against the exact request, the order, and the controls
    ("fuzzy", "iterative"),
    ("fuzzy", "first_epoch"),
    ("iterative", "first_epoch"),
    ("iterative", "iterative_reversed"),
    *((one, control) for one in ("fuzzy", "iterative") for control in COMPARED[4:]),
)
GROUPS = ("neighbours in the fuzzy request", "neighbours outside of it", "other retain facts")


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
    means = swept.groupby(["matcher", "threshold"], sort=False).mean(numeric_only=True).reset_index()
    order = means.sort_values(["f1", "threshold"]).groupby("matcher", sort=False).tail(1)
    return order.set_index("matcher").reindex(swept["matcher"].unique()).reset_index()


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


def contrasts(profile: Profile, arm: str) -> pd.DataFrame:
    """D_F at matched damage for each of PAIRS that this arm walks, first minus second, paired over seeds.

    Columns: of, against, and those of `results.contrasts`; Holm over all rows that can be tested.
    """
    readings = matched_damage(profile, arm, methods=COMPARED)
    wide = readings.pivot_table(index="seed", columns="method", values="oracle_distance")
    found = [paired(wide[a], {b: wide[b]}).assign(of=a) for a, b in PAIRS if a in wide and b in wide]
    if not found:
        return pd.DataFrame(columns=["of", "against", "n"])
    return with_holm(pd.concat(found, ignore_index=True))


def endings(profile: Profile, arm: str) -> pd.DataFrame:
    """Where each path gets to, a row a seed and method.

    nearest, nearest_damage   lowest D_F over the measured steps, and the retain damage there
    end_share, end_distance, end_gap, end_damage   at its longest step; the gap is signed, above 0 is past
    """
    table, found = path_table(profile, arm, methods=COMPARED), []
    for (seed, method), _ in table[table["method"] != "finetuned"].groupby(["seed", "method"], sort=False):
        path = along(table[table["seed"] == seed], method)
        near, end = path.loc[path["oracle_distance"].idxmin()], path.iloc[-1]
        row = {"seed": seed, "method": method, "nearest": near["oracle_distance"]}
        row |= {"nearest_damage": near["damage"], "end_share": end["share"]}
        row |= {"end_distance": end["oracle_distance"], "end_gap": end["oracle_gap"]}
        found.append(row | {"end_damage": end["damage"]})
    return pd.DataFrame(found)


def facts_at_damage(profile: Profile, arm: str) -> pd.DataFrame:
    """Every scored fact at matched retain damage: seed, method, example, split, fuzzy, nll, rise.

    `fuzzy` tells whether the fuzzy request names the fact; `rise` is its NLL minus theta_T's.
    """
    here = arm_of(profile, arm)
    readings = matched_damage(profile, arm, methods=COMPARED).set_index(["seed", "method"])["norm"]
    trained, walked = observations(profile, "train", arm), observations(profile, "paths", arm)
    walked = walked[(walked["layers"] == "all") & (walked["metric"] == "nll") & (walked["example"] != "")]
    found = []
    for setting in here.settings:
        ids = {*setting.forget, *(e.id for e in setting.retain())}
        begin = start(trained[trained["seed"] == setting.seed], ids)
        begin = begin[(begin["metric"] == "nll") & (begin["example"] != "")].set_index("example")["value"]
        rows = walked[(walked["seed"] == setting.seed) & walked["example"].isin(ids)]
        for method, norm in readings.loc[setting.seed].items():
            wide = rows[rows["method"] == method].pivot_table(index="norm", columns="example", values="value")
            wide = pd.concat([begin.to_frame(0.0).T, wide])
            nll = {i: at(wide[i].dropna(), norm) for i in wide}
            found += [(setting.seed, method, i, i in setting.fuzzy, v, v - begin[i]) for i, v in nll.items()]
    table = pd.DataFrame(found, columns=["seed", "method", "example", "fuzzy", "nll", "rise"])
    split = {(s.seed, e.id): e.split for s in here.settings for e in s.facts}
    return table.assign(split=[split[key] for key in zip(table["seed"], table["example"], strict=True)])


def rises(facts: pd.DataFrame) -> pd.DataFrame:
    """Mean rise of each of GROUPS by seed and method, of `facts_at_damage`: seed, method, group, n, rise."""
    others = facts[facts["split"] != "forget"]
    near = np.where(others["fuzzy"], GROUPS[0], GROUPS[1])
    group = np.where(others["split"] == "neighbour", near, GROUPS[2])
    table = others.assign(group=group).groupby(["seed", "method", "group"], sort=False)["rise"]
    return table.agg(n="size", rise="mean").reset_index()


def rise_contrasts(risen: pd.DataFrame) -> pd.DataFrame:
    """Fuzzy minus exact request: rise of each of GROUPS, paired over seeds, Holm. `against` is the group."""
    found = []
    for group, rows in risen.groupby("group"):
        wide = rows.pivot_table(index="seed", columns="method", values="rise")
        if {"fuzzy", "first_epoch"} <= set(wide):
            found.append(paired(wide["fuzzy"], {group: wide["first_epoch"]}))
    if not found:
        return pd.DataFrame(columns=["against", "n"])
    return with_holm(pd.concat(found, ignore_index=True))


def left_known(profile: Profile, arm: str, facts: pd.DataFrame) -> pd.DataFrame:
    """Share of forget facts still likelier than never-trained ones under theta_T: seed, method, known.

    Empty without never-trained facts.
    """
    level = levels(profile, arm)["nll"]
    mine = facts[(facts["split"] == "forget") & facts["seed"].isin(level.index)]
    known = mine["nll"] < mine["seed"].map(level)
    return known.groupby([mine["seed"], mine["method"]], sort=False).mean().rename("known").reset_index()


def rounds(profile: Profile, arm: str) -> pd.DataFrame:
    """The iterative paths round by round: seed, method, round, share, removed, asked, forget_nll, damage.

    `removed` counts the facts that were still known, and lost a step; `asked` how many the request has.
    """
    walked = observations(profile, "paths", arm)
    walked = walked[walked["method"].isin(["iterative", "iterative_reversed"])]
    columns = ["seed", "method", "round", "share", "removed", "asked", "forget_nll", "damage"]
    if walked.empty or "removed" not in walked:
        return pd.DataFrame(columns=columns)
    keys = ["seed", "method", "share"]
    count = pd.to_numeric(walked["removed"], errors="coerce").groupby([walked[k] for k in keys]).first()
    table = path_table(profile, arm, methods=("iterative", "iterative_reversed"))
    table = table.join(count, on=keys).dropna(subset="removed").sort_values(keys)
    asked = {s.seed: len(s.forget) for s in arm_of(profile, arm).settings}
    table = table.assign(round=table.groupby(["seed", "method"]).cumcount() + 1)
    return table.assign(asked=table["seed"].map(asked))[columns].reset_index(drop=True)
