"""The observation files of a run, read into frames."""

import json
from functools import cache

import pandas as pd

from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study import cells, plan

NUMBERS = ("value", "share", "norm", "alpha", "seconds", "epoch", "step")


def arms(profile: Profile) -> list[plan.Arm]:
    """The arms of a run, the headline first."""
    return plan.arms(profile)


def arm_names(profile: Profile) -> list[str]:
    """Their names."""
    return [arm.name for arm in arms(profile)]


def arm_of(profile: Profile, name: str) -> plan.Arm:
    """The arm of that name; DataError for another."""
    found = {arm.name: arm for arm in arms(profile)}
    if name not in found:
        raise DataError(f"this run has no arm {name!r}; it has: {', '.join(found)}")
    return found[name]


def observations(profile: Profile, stage: str, arm: str | None = None) -> pd.DataFrame:
    """All rows of a stage's cells, of one arm or all; DataError where the run has no such cell."""
    files = tuple(
        str(c.observations) for c in cells(profile) if c.stage == stage and arm in (None, c.config["arm"])
    )
    if not files:
        raise DataError(f"run {profile.name} has no {stage} cell" + (f" of {arm}" if arm else ""))
    return _read(files).copy()


@cache
def _read(files: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.concat([pd.read_csv(f, keep_default_na=False, na_values=["nan"]) for f in files])
    for column in NUMBERS:
        if column in frame:
            frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame.reset_index(drop=True)


def costs(profile: Profile) -> pd.DataFrame:
    """Of every cell: what it did, its arm, seed and kind, seconds, and peak memory in GB."""
    rows = [
        {"cell": c.title, "arm": c.config["arm"], "seed": c.config["seed"], "stage": c.stage, **c.cost()}
        for c in cells(profile)
    ]
    table = pd.DataFrame(rows)[["cell", "arm", "seed", "stage", "seconds", "peak_bytes"]]
    return table.assign(peak_gb=table.pop("peak_bytes") / 1e9)


def continuations(profile: Profile, arm: str, seed: int = 0) -> pd.DataFrame:
    """What each model of the close-ups says about the forget facts: prompt, answer, a column a model."""
    told = [
        json.loads((c.folder / "continuations.json").read_text())
        for c in cells(profile)
        if c.stage in ("portraits", "oracle") and c.config["arm"] == arm and c.config["seed"] == seed
    ]
    here = arm_of(profile, arm)
    facts = {e.id: e for e in here.settings[here.seeds.index(seed)].facts}
    said = {model: answers for part in told for model, answers in part["said"].items()}
    table = pd.DataFrame(said, index=pd.Index(told[0]["ids"], name="example"))
    table.insert(0, "prompt", [facts[i].prompt for i in table.index])
    table.insert(1, "answer", [facts[i].answer for i in table.index])
    return table
