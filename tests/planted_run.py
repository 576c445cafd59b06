"""A run whose truth is known: every cell's observations come from a quadratic loss, with nothing trained.

Each person p has a coordinate a_p of its own, and all facts share a coordinate s; other coordinates touch no
loss. With curvatures c_a and c_s the NLL of fact i of p is k_i [c_a (1 - a_p)^2 + c_s (1 - s)^2] / 2 with k_i
near 1. Gradient descent from 0 leaves 1 - a = (1 - h_a)^e after e epochs, where h = learning rate * curvature
* (share of the facts), and likewise s. The target's gradient of epoch e is (c_a (1 - a), c_s (1 - s)), so the
first epoch points along (c_a, c_s) and the sum over epochs along (c_a a_T / h_a, c_s s_T / h_s): whichever
coordinate is learned sooner weighs less in the sum. The oracle has a_p = 0. Retain damage depends on s alone,
hence at equal damage the direction that is steeper in a forgets more, and the sign of C1 is that of
h_a - h_s.
"""

import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from unlearnkit import profiles
from unlearnkit.experiments.cells import Cell
from unlearnkit.profiles import Profile
from unlearnkit.study import cells
from unlearnkit.study.results import observed, paths

EPOCHS, PERSONS_SHARE, DISPLACEMENT = 8, 0.2, 8.0
METHODS = ("finetuned", "first_epoch", "all_epochs")


@dataclass(frozen=True)
class World:
    """Curvatures, learning rate and noise; `seed_noise` shifts each path's forget NLL by one draw a seed."""

    own: float = 16.0  # c_a
    shared: float = 2.0  # c_s
    rate: float = 0.05
    spread: float = 0.03  # relative, of c_a over seeds
    seed_noise: float = 0.0
    without_oracle: frozenset[int] = field(default_factory=frozenset)

    def learned(self, curvature: float, share: float) -> tuple[float, float]:
        """(coordinate after training, h)."""
        h = self.rate * curvature * share
        return 1 - (1 - h) ** EPOCHS, h

    def sign_of_c1(self) -> int:
        return int(np.sign(self.learned(self.own, PERSONS_SHARE)[1] - self.learned(self.shared, 1.0)[1]))

    def direction(self, method: str, layers: str) -> tuple[float, float, float]:
        """Unit step of (own a, shared s, the wrong person's a); the rest of the unit touches no loss."""
        (a, h_a), (s, h_s) = self.learned(self.own, PERSONS_SHARE), self.learned(self.shared, 1.0)
        own, shared = self.own, self.shared
        if method == "all_epochs":
            own, shared = own * a / h_a, shared * s / h_s
        length = np.hypot(own, shared)
        if method == "random_direction":
            return 0.01, 0.02, 0.01
        if method == "wrong_person":
            return 0.0, shared / length, own / length
        if layers == "last2":
            return 0.0, 0.0, 0.0
        if layers != "all":
            return 0.0, 1.0, 0.0
        return own / length, shared / length, 0.0


def _noise(*key) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


@cache
def _size(fact: str) -> float:
    """k_i"""
    return 1 + 0.1 * _noise(fact).normal()


def _nll(world: World, config: dict, own: float, shared: float, wrong: float, ids=None) -> pd.DataFrame:
    """Rows of every asked fact where the target's a, the shared s and the control's a have these values."""
    curvature = world.own * (1 + world.spread * _noise("seed", config["seed"]).normal())
    trained, _ = world.learned(world.own, PERSONS_SHARE)
    forget, control = set(config["forget"]), set(config["control"])
    rows = []
    for fact in config["facts"]:
        i = fact["id"]
        if ids is not None and i not in ids:
            continue
        a = own if i in forget else wrong if i in control else trained
        value = _size(i) * (curvature * (1 - a) ** 2 + world.shared * (1 - shared) ** 2) / 2
        rows.append((i, fact["person"], "forget" if i in forget else "retain", "nll", value))
    return pd.DataFrame(rows, columns=["example", "person", "split", "metric", "value"])


def observations_of(cell: Cell, world: World) -> pd.DataFrame:
    """What the cell would have observed in this world."""
    made = {"train": _train, "oracle": _oracle, "paths": _paths, "portraits": _portraits}
    rows = made[cell.stage](cell.config, world)
    return rows.assign(arm=cell.config["arm"], seed=cell.config["seed"])


def _point(config: dict, world: World, ids=None, method: str = "", layers: str = "all", share: float = 0.0):
    a, s = world.learned(world.own, PERSONS_SHARE)[0], world.learned(world.shared, 1.0)[0]
    own, shared, wrong = (share * DISPLACEMENT * u for u in world.direction(method, layers))
    rows = _nll(world, config, a - own, s - shared, a - wrong, ids)
    if share and world.seed_noise:
        jump = world.seed_noise * _noise(config["seed"], method, layers).normal()
        rows.loc[rows["split"] == "forget", "value"] += jump
    return pd.concat([rows, _utility(1 + share)])


def _utility(value: float) -> pd.DataFrame:
    return pd.DataFrame([("", "", "utility", "perplexity", value)], columns=_COLUMNS)


_COLUMNS = ["example", "person", "split", "metric", "value"]


def _train(config: dict, world: World) -> pd.DataFrame:
    rows = [_nll(world, config, 0, 0, 0).assign(epoch=0), _point(config, world).assign(epoch=EPOCHS)]
    told = pd.DataFrame([("", "", "", "displacement", DISPLACEMENT)], columns=_COLUMNS)
    return pd.concat([*rows, told]).assign(method="finetuned", step=np.nan)


def _oracle(config: dict, world: World) -> pd.DataFrame:
    s, a = world.learned(world.shared, 1.0)[0], world.learned(world.own, PERSONS_SHARE)[0]
    rows = _nll(world, config, 0, s, a)
    rows["value"] += 0.05 * _noise("oracle", config["seed"]).normal(size=len(rows))
    rows = pd.concat([rows, _paraphrases(rows), _utility(1.0), _rouge(rows, 0.2), _influence(rows, 3.0)])
    if config["seed"] in world.without_oracle:
        rows = rows[rows["split"] != "forget"]
    return rows.assign(method="oracle", layers="all")


def _paths(config: dict, world: World) -> pd.DataFrame:
    wanted = {*config["forget"], *config["retain"]}
    found = []
    for spec in config["paths"]:
        for share in spec["steps"]:
            rows = _point(config, world, wanted, spec["label"], config["layers"], share)
            told = {"share": share, "alpha": share, "norm": share * DISPLACEMENT, "seconds": 0.1}
            found.append(rows.assign(method=spec["label"], layers=config["layers"], **told))
    return pd.concat(found)


def _portraits(config: dict, world: World) -> pd.DataFrame:
    found = []
    for method in METHODS:
        rows = _point(config, world, None, method, "all", 0.0 if method == "finetuned" else 0.05)
        facts = rows[rows["metric"] == "nll"]
        score = {"finetuned": 4.0, "first_epoch": 1.0, "all_epochs": 2.0}[method]
        more = [_paraphrases(facts), _rouge(facts, score / 4), _influence(facts, score)]
        found.append(pd.concat([rows, *more]).assign(method=method, layers="all", norm=0.4, alpha=1.0))
    return pd.concat(found)


def _paraphrases(facts: pd.DataFrame) -> pd.DataFrame:
    rows = facts[facts["split"] == "forget"]
    return rows.assign(example=rows["example"] + "#1", split="paraphrase", value=rows["value"] + 0.5)


def _rouge(facts: pd.DataFrame, value: float) -> pd.DataFrame:
    return facts[facts["split"] == "forget"].assign(metric="rougeL_recall", value=value)


def _influence(facts: pd.DataFrame, value: float) -> pd.DataFrame:
    rows = facts[facts["split"] == "forget"]
    scale = [_size(i) for i in rows["example"]]
    return pd.concat(
        rows.assign(metric=f"influence_{name}", value=np.multiply(scale, value))
        for name in ("activation", "gradient")
    )


def plant(monkeypatch, folder: Path, run: Profile, world: World) -> None:
    """Let the run's observations be those of this world; `folder` notes what the run's name stands for."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(folder))
    profiles.record(run)
    by_key = {c.key: c for c in cells(run)}
    made: dict[tuple[str, ...], pd.DataFrame] = {}

    def read(files: tuple[str, ...]) -> pd.DataFrame:
        keys = tuple(Path(f).parent.name for f in files)  # the folder above changes with every test
        if keys not in made:
            parts = [observations_of(by_key[k], world) for k in keys]
            made[keys] = pd.concat(parts, ignore_index=True)
        return made[keys]

    monkeypatch.setattr(observed, "_read", read)
    for cached in (paths._points, paths._readings):  # by name and arm, which may have meant another world
        cached.cache_clear()
