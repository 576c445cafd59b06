"""Unlearning while it lasts (claim C4's "duration"): influence and extraction after every application.

The first epoch's stored gradients, added again and again, against gradients taken afresh every time; both
have gone equally far after as many applications.
"""

import pandas as pd

from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study.results.influence import INFLUENCES
from unlearnkit.study.results.observed import arm_names, arm_of, observations
from unlearnkit.study.results.stopping import stop

METHODS = ("first_epoch", "recomputed")
SCORES = tuple(INFLUENCES)[:2]  # the cheap ones
KNOWN = ("exact_memorisation", "extraction_likelihood")
VALUES = ["share", "rise", "damage", *KNOWN]
# Jang et al. (2023) stop once the forget set is known no better than unseen text, by both measures.
RULES = {
    "memorisation as of strangers": KNOWN[:1],
    "extraction as of strangers": KNOWN[1:],
    "both (Jang et al. 2023)": KNOWN,
}


def followed_arms(profile: Profile) -> list[str]:
    """The arms of a run with seeds that were followed."""
    return [arm for arm in arm_names(profile) if len(_rows(profile, arm))]


def followed(profile: Profile, arm: str) -> pd.DataFrame:
    """A row a seed, method and application; application 0, the start, is a row of every method.

    Columns: seed, method, duration, share (distance, of fine-tuning's displacement), norm; rise and damage
    (change of the forget and retain NLL, nats); exact_memorisation, extraction_likelihood and both SCORES,
    means over the forget facts; each score with `_control`, the mean over the control person's facts.
    """
    rows, keys = _rows(profile, arm), ["seed", "method", "duration", "share", "norm"]
    parts = []
    for setting in arm_of(profile, arm).settings:
        here = rows[rows["seed"] == setting.seed]
        if not len(here):
            continue
        mine, told = here[here["split"] == "forget"], here["metric"]
        wide = mine.pivot_table(index=keys, columns="metric", values="value")
        retain = here[(told == "nll") & ~here["split"].isin(["forget", "holdout"])]
        control = here[told.isin(SCORES) & here["example"].isin(setting.control)]
        control = control.pivot_table(index=keys, columns="metric", values="value").add_suffix("_control")
        wide = wide.join(control).assign(retain_nll=retain.groupby(keys)["value"].mean()).reset_index()
        start = wide[wide["method"] == "finetuned"].iloc[0]
        wide["rise"], wide["damage"] = wide["nll"] - start["nll"], wide["retain_nll"] - start["retain_nll"]
        begin = wide[wide["method"] == "finetuned"]
        for method in METHODS:
            parts.append(pd.concat([begin.assign(method=method), wide[wide["method"] == method]]))
    columns = [*keys, *VALUES[1:], *SCORES, *(f"{score}_control" for score in SCORES)]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return found.reindex(columns=columns).rename_axis(columns=None)


def strangers(profile: Profile, arm: str) -> pd.DataFrame:
    """How well theta_T knows never-trained facts, a row a seed: the columns KNOWN; no rows without any."""
    close, rows = observations(profile, "portraits", arm), _rows(profile, arm)
    found = pd.concat([close[close["metric"] == KNOWN[0]], rows[rows["metric"] == KNOWN[1]]])
    found = found[(found["split"] == "holdout") & (found["method"] == "finetuned")]
    wide = found.pivot_table(index="seed", columns="metric", values="value")
    return wide.reindex(columns=list(KNOWN)).dropna()


def stops(profile: Profile, arm: str) -> pd.DataFrame:
    """Where each of RULES stops each of METHODS: a row a seed, method and rule.

    Columns: seed, method, rule, met (False where it never does: read at the longest step), and VALUES there,
    linear between two applications. No rows without never-trained facts.
    """
    table, levels, found = followed(profile, arm), strangers(profile, arm), []
    for (seed, method), path in table.groupby(["seed", "method"], sort=False):
        if seed not in levels.index:
            continue
        over = path[list(KNOWN)] - levels.loc[seed]  # above the strangers, by each measure
        for rule, measures in RULES.items():
            path = path.assign(over=over[list(measures)].max(axis=1))
            values, met = stop(path, "over", 0.0, falling=True, values=VALUES)
            found.append({"seed": seed, "method": method, "rule": rule, "met": met} | values.to_dict())
    return pd.DataFrame(found, columns=["seed", "method", "rule", "met", *VALUES])


def _rows(profile: Profile, arm: str) -> pd.DataFrame:
    """The cells' observations; no rows where the run has no such cell."""
    try:
        rows = observations(profile, "durations", arm)
    except DataError:
        return pd.DataFrame(columns=["seed", "method", "split", "example", "metric", "value"])
    return rows.assign(duration=pd.to_numeric(rows["duration"]))
