"""The claims' primary contrasts, one number a training seed, and the verdicts on them."""

import pandas as pd

from unlearnkit import claims
from unlearnkit.experiments.readings import at
from unlearnkit.profiles import Profile
from unlearnkit.study.results.influence import influence_pairs
from unlearnkit.study.results.matched import damage_crossing, matched_damage
from unlearnkit.study.results.observed import arm_of, arms
from unlearnkit.study.results.paths import along, path_table


def claim_values(profile: Profile, arm: str) -> dict[str, pd.Series]:
    """By claim id: its contrast in every seed of the arm, as `claims.CLAIMS` defines it."""
    readings = matched_damage(profile, arm, layers=None, methods=None)
    distance = readings.pivot_table(
        index="seed", columns=["layers", "method"], values="oracle_distance", dropna=False
    )
    first = distance["all", "first_epoch"]
    minuends = {
        "C1": ("all", "all_epochs"),
        "C1a": ("all", "wrong_person"),
    }
    found = {claim: distance[where] - first for claim, where in minuends.items() if where in distance}
    if ("embedding", "first_epoch") in distance:
        found["C2a"] = first - distance["embedding", "first_epoch"]
    if ("last2", "first_epoch") in distance:
        found["C2b"] = _effect_of_last_blocks(profile, arm)
    for claim, score in (("C3a", "influence_activation"), ("C3b", "influence_gradient")):
        pairs = influence_pairs(profile, arm, score).groupby("seed")[["before", "after"]].mean()
        found[claim] = (pairs["before"] - pairs["after"]) / pairs["before"].abs()
    path = path_table(profile, arm, methods=("first_epoch",))
    start = path[path["method"] == "finetuned"].set_index("seed")["forget_nll"]
    found["C4"] = start - path.groupby("seed")["forget_nll"].min()
    if {("all", "fuzzy"), ("all", "iterative")} <= set(distance):
        found["C5"] = distance["all", "fuzzy"] - distance["all", "iterative"]
    return {claim: values.dropna() for claim, values in found.items()}


def _effect_of_last_blocks(profile: Profile, arm: str) -> pd.Series:
    """Forget NLL after minus before a step on the last two blocks, as long as all layers' matched step."""
    table = path_table(profile, arm, layers=None, methods=("first_epoch",))
    found = {}
    for seed, here in table.groupby("seed"):
        norm, _ = damage_crossing(along(here, "first_epoch"))
        path = along(here, "first_epoch", "last2").set_index("norm")["forget_nll"].sort_index()
        found[seed] = at(path, norm) - path.iloc[0]
    return pd.Series(found)


def verdicts(profile: Profile) -> list[dict]:
    """A row a claim and arm: see `claims.verdicts`."""
    return [row for a in arms(profile) for row in claims.verdicts(claim_values(profile, a.name), a.name)]


def components(profile: Profile, arm: str) -> pd.DataFrame:
    """Each contrast's spread over seeds, taken apart: what the order of training does, and who is forgotten.

    Columns: id, n, persons, sd_order (within a person, over orders), sd_person (between persons beyond that;
    one-way random effects, 0 where the estimate is negative). Only arms that forget some person under
    several orders have rows.
    """
    rows = []
    for claim, groups in _by_person(profile, arm).items():
        values = pd.concat(groups)
        n, k = len(values), len(groups)
        within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (n - k)
        between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups) / (k - 1)
        size = (n - sum(len(g) ** 2 for g in groups) / n) / (k - 1)
        person = max(0.0, (between - within) / size)
        rows.append({"id": claim, "n": n, "persons": k, "sd_order": within**0.5, "sd_person": person**0.5})
    return pd.DataFrame(rows, columns=["id", "n", "persons", "sd_order", "sd_person"])


def person_means(profile: Profile, arm: str) -> dict[str, pd.Series]:
    """By claim: the mean of its contrast over each person's seeds, where `components` can tell them apart."""
    return {
        claim: pd.Series([group.mean() for group in groups])
        for claim, groups in _by_person(profile, arm).items()
    }


def _by_person(profile: Profile, arm: str) -> dict[str, list[pd.Series]]:
    """Each claim's contrasts, a series a person; none of a claim with one person, or one seed a person."""
    target = {s.seed: s.target for s in arm_of(profile, arm).settings}
    found = {}
    for claim, values in claim_values(profile, arm).items():
        groups = [group for _, group in values.groupby(values.index.map(target))]
        if 2 <= len(groups) < len(values):
            found[claim] = groups
    return found
