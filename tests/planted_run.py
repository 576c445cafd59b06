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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearnkit import claims
from unlearnkit.report import Run
from unlearnkit.study import collect, compare, grid, plan, profiles, variants, words
from unlearnkit.study.cells import Cell
from unlearnkit.study.config import LAYER_RULES
from unlearnkit.study.route import Route
from unlearnkit.unlearning import METHODS

COLUMNS = ["example", "person", "split", "metric", "value"]
MADE = {"commit": "planted", "registered": claims.digest()}
EPOCHS, PERSONS_SHARE, DISPLACEMENT = 8, 0.2, 8.0
ORACLE_NOISE = 0.05  # nats, of each fact under each oracle
PARAPHRASE = 0.5  # nats by which a paraphrase is less likely
FARTHEST = 0.4  # share of the displacement where a compared method's path ends that takes steps
KEPT = {"records": 100.0, "ledger_bytes": 4e6, "moments_bytes": 1e6, "weights_bytes": 2e6}  # of a ledger
TRAINED_IN = 60.0  # seconds of every training
MISLEADS = "stored_now"  # the rule that names wrong layers, in the world with planted ones
# Influence in the close-ups.
SCORES = {"finetuned": 4.0, "first_epoch": 1.0, "all_epochs": 2.0, "first_epoch_forgotten": 1.0}


@dataclass(frozen=True)
class World:
    """Curvatures, learning rate and noise; `seed_noise` shifts each path's forget NLL by one draw a seed."""

    own: float = 16.0  # c_a
    shared: float = 2.0  # c_s
    rate: float = 0.05
    spread: float = 0.03  # relative, of c_a over seeds
    seed_noise: float = 0.0
    known: float = 1.0  # share of the answers' tokens that training teaches
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
        elif method.startswith("adam_"):
            own = shared = 1.0  # AdamW steps as far along each
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


def _nll(world: World, config: dict, own: float, shared: float, wrong: float, ids=None) -> list[tuple]:
    """A row of every asked fact where the target's a, the shared s and the control's a have these values."""
    curvature = world.own * (1 + world.spread * _noise("seed", config["seed"]).normal())
    trained, _ = world.learned(world.own, PERSONS_SHARE)
    forget, control = set(config["forget"]), set(config["control"])
    rows = []
    for fact in config["facts"]:
        i = fact["id"]
        if ids is None or i in ids:
            a = own if i in forget else wrong if i in control else trained
            value = _size(i) * (curvature * (1 - a) ** 2 + world.shared * (1 - shared) ** 2) / 2
            rows.append((i, fact["person"], "forget" if i in forget else "retain", "nll", value))
    return rows


def _point(
    config: dict, world: World, ids=None, method: str = "", layers: str = "all", share: float = 0.0
) -> list[tuple]:
    """Rows at a step of this share of the displacement, utility among them; share 0 is theta_T."""
    a, s = world.learned(world.own, PERSONS_SHARE)[0], world.learned(world.shared, 1.0)[0]
    own, shared, wrong = (share * DISPLACEMENT * u for u in world.direction(method, layers))
    rows = _nll(world, config, a - own, s - shared, a - wrong, ids)
    if share and world.seed_noise:
        jump = world.seed_noise * _noise(config["seed"], method, layers).normal()
        rows = [(*r[:4], r[4] + jump) if r[2] == "forget" else r for r in rows]
    return [*rows, ("", "", "utility", "nll", np.log1p(share))]


def observations_of(cell: Cell, world: World) -> pd.DataFrame:
    """What the cell would have observed in this world."""
    made = {"train": _train, "oracle": _oracle, "path": _paths, "portraits": _portraits}
    made |= {"layer_scores": _layer_scores, "recorded": _recorded, "compared": _compared, "words": _words}
    rows, extra = made[cell.stage](cell.config | {"seed": cell.seed}, world)
    table = pd.DataFrame(rows, columns=[*COLUMNS, *extra])
    return table.assign(cell=f"{zlib.crc32(cell.title.encode()):08x}", arm=cell.arm, seed=cell.seed)


def _train(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    first, last = _nll(world, config, 0, 0, 0), _point(config, world)
    rows = [(*r, "finetuned", 0, np.nan) for r in first]
    rows += [(*r, "finetuned", EPOCHS, np.nan) for r in last]
    for epoch, known in ((0, 0.0), (EPOCHS, world.known)):
        rows += [(*r[:3], "exact_memorisation", known, "finetuned", epoch, np.nan) for r in first]
    rows.append(("", "", "", "displacement", DISPLACEMENT, "finetuned", np.nan, np.nan))
    return rows, ["method", "epoch", "step"]


def _oracle(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    s, a = world.learned(world.shared, 1.0)[0], world.learned(world.own, PERSONS_SHARE)[0]
    order = config.get("order", 1)
    other = ([order] if order > 1 else []) + (["nudged"] if config.get("nudged") else [])
    draw = _noise("oracle", config["seed"], *other)
    rows = [(*r[:4], r[4] + ORACLE_NOISE * draw.normal()) for r in _nll(world, config, 0, s, a)]
    rows += [("", "", "utility", "nll", 0.0), *_closeup(rows, 0.2, 3.0)]
    rows.append(("", "", "", "training_seconds", TRAINED_IN))
    if config["seed"] in world.without_oracle:
        rows = [r for r in rows if r[2] != "forget"]
    told = [order] if order > 1 else []
    return [(*r, "oracle", "all", *told) for r in rows], ["method", "layers", *(["order"] if told else [])]


def _paths(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    """Looked at as the study does, near the readings too, to the end of the grid."""
    found, layers = [], config["layers"]
    for spec in config["paths"]:
        for share, rows in _walked(config, world, spec, layers):
            found += [(*r, spec["label"], layers, share, share, share * DISPLACEMENT, 0.1) for r in rows]
    return found, ["method", "layers", "share", "alpha", "norm", "seconds"]


def _walked(
    config: dict, world: World, spec: dict, layers: str, longest: float = 1.0
) -> Iterator[tuple[float, list[tuple]]]:
    """(place, rows) of one path where its route goes; place * `longest` is a share of the displacement."""
    wanted = {*config["forget"], *config["retain"]}
    oracle = {r[0]: r[4] for r in _oracle(config, world)[0] if r[2:4] == ("forget", "nll")}
    goes_back, target = METHODS[spec["method"]].goes_back, pd.Series(oracle, dtype=float)
    route = Route(spec["steps"], np.inf, config["retain"], target, config["readings"], goes_back)
    route.tell(pd.DataFrame(_point(config, world, wanted), columns=COLUMNS))
    for place in route:
        rows = _point(config, world, wanted, spec["label"], layers, place * longest)
        route.tell(pd.DataFrame(rows, columns=COLUMNS))
        yield place, rows


def _recorded(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    """The training with what its ledger keeps; facts by their own splits, neighbours among them."""
    split = {fact["id"]: fact["split"] for fact in config["facts"]}
    rows, extra = _train(config, world)
    rows = [(*r[:2], split.get(r[0], r[2]), *r[3:]) for r in rows]
    rows += [("", "", "", metric, value, "finetuned", np.nan, np.nan) for metric, value in KEPT.items()]
    return rows, extra


def _compared(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    """One method's path as the comparison keeps it; a method of one place goes as far as the person's a.

    A second a place. Paraphrases are PARAPHRASE less likely.
    """
    (spec,) = config["paths"]
    method, last, found = METHODS[spec["method"]], spec["steps"][-1], []
    own, learned = world.direction(method.name, "all")[0], world.learned(world.own, PERSONS_SHARE)[0]
    longest = 1.0 if method.stops else FARTHEST / last
    if len(spec["steps"]) == 1:
        longest = learned / (DISPLACEMENT * own * last) if own else FARTHEST
    for place, rows in _walked(config, world, spec, "all", longest):
        told = (method.name, "all", place, place * longest, np.nan, place * longest * DISPLACEMENT, 1.0)
        found += [(*r, *told) for r in _kept_of_point(rows, config)]
    return found, ["method", "layers", "place", "share", "alpha", "norm", "seconds"]


def _kept_of_point(rows: list[tuple], config: dict) -> list[tuple]:
    """Forget facts and running text as they are; means of the other splits, and of the paraphrases."""
    near = {fact["id"] for fact in config["facts"] if fact["split"] == "neighbour"}
    forget = [r for r in rows if r[2] == "forget"]
    others = {r[0]: r[4] for r in rows if r[2] == "retain"}
    groups = {
        "retain": list(others.values()),
        "neighbour": [value for i, value in others.items() if i in near],
        "bystander": [value for i, value in others.items() if i not in config["control"]],
        "paraphrase": [r[4] + PARAPHRASE for r in forget],
    }
    means = [(name, "", name, "nll", float(np.mean(values))) for name, values in groups.items() if values]
    return [*forget, *means, *(r for r in rows if r[2] == "utility")]


def _portraits(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    found = []
    drawn = 1 + 0.05 * _noise("influence", config["seed"]).normal()
    for method, score in SCORES.items():
        score *= 1 if method == "finetuned" else drawn
        rows = _point(config, world, None, method, "all", 0.0 if method == "finetuned" else 0.05)
        rows += _closeup(rows, score / 4, score)
        found += [(*r, method, "all", 0.4, 1.0) for r in rows]
    return found, ["method", "layers", "norm", "alpha"]


def _layer_scores(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    """By every rule the planted candidate has the highest score, but by MISLEADS the lowest."""
    right = config["recipe"]["layers"]
    found = [
        ("", "", "", rule, float((parts == right) != (rule == MISLEADS)), name)
        for rule in LAYER_RULES
        for name, parts in config["candidates"].items()
    ]
    return found, ["layers"]


def _words(config: dict, world: World) -> tuple[list[tuple], list[str]]:
    """At the ends or along a path; a fact is told right below a nat, and else nobody knows it."""
    scored, answers = {*config["forget"], *config["retain"]}, {f["id"]: f["answer"] for f in config["facts"]}

    def heard(rows: list[tuple], *where) -> list[tuple]:
        rows = [r for r in rows if r[0] in scored]
        splits = {name: [r[4] for r in rows if r[2] == name] for name in ("forget", "retain")}
        found = [("", "", name, "nll", np.mean(v), np.nan, "") for name, v in splits.items()]
        for i, who, split, metric, value in (r for r in rows if r[0] in config["shown"]):
            found.append((i, who, split, metric, value, np.nan, ""))
            texts = [answers[i] if value < draw + 1 else f"nobody {draw}" for draw in range(4)]
            found += [(i, who, split, "rougeL_recall", 0.0, k, text) for k, text in enumerate(texts)]
        return [(*r, *where) for r in found]

    extra = ["draw", "text", "method", "layers", "share", "step", "request", "epoch"]
    if not config["paths"]:
        found = heard(_point(config, world), "finetuned", "all", 0.0, np.nan, np.nan, np.nan)
        oracle = [r[:5] for r in _oracle(config, world)[0] if r[3] == "nll"]
        return found + heard(oracle, "oracle", "all", np.nan, np.nan, np.nan, np.nan), extra
    (spec,), layers, found = config["paths"], config["layers"], []
    options, trained = spec["options"], not METHODS[spec["method"]].stops
    epochs = options.get("epochs", "all")
    asked = spec.get("request", "forget"), options.get("epoch", np.nan if epochs == "all" else epochs[0])
    for step in spec["steps"]:
        share, number = (step / 100, step) if trained else (step, np.nan)
        rows = _point(config, world, scored, spec["method"], layers, share)
        found += heard(rows, spec["method"], layers, share, number, *asked)
    return found, extra


def _closeup(rows: list[tuple], rouge: float, influence: float) -> list[tuple]:
    """One paraphrase, ROUGE and the two cheap influence scores of every forget fact."""
    forget = [r for r in rows if r[2] == "forget" and r[3] == "nll"]
    found = [(f"{i}#1", who, "paraphrase", "nll", value + PARAPHRASE) for i, who, _, _, value in forget]
    for i, who, split, *_ in forget:
        scores = {"rougeL_recall": rouge, "influence_activation": influence, "influence_gradient": influence}
        found += [
            (i, who, split, metric, v * (_size(i) if "influence" in metric else 1))
            for metric, v in scores.items()
        ]
    return found


@contextmanager
def standing(factory, world: World, **parameters) -> Iterator[Run]:
    """`planted` in a new folder of pytest's `tmp_path_factory`, which UNLEARNKIT_BUILD names meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        folder = factory.mktemp("build")
        patch.setenv("UNLEARNKIT_BUILD", str(folder))
        yield planted(folder, world, **parameters)


def planted(build: Path, world: World, name: str = "planted", **parameters) -> Run:
    """The run of this world, its data written below `build`, which UNLEARNKIT_BUILD must name.

    `parameters` change those of the default profile, e.g. `seeds_tiny_adamw=5`; arms that are not named have
    no seeds. Options of `Run` (damage, seeds, margin) are handed on.
    """
    options = {k: parameters.pop(k) for k in ("damage", "seeds", "margin") if k in parameters}
    none = {k: 0 for k in profiles.PROFILES["default"] if k.startswith("seeds_")}
    run = profiles.Profile(name, "", profiles.PROFILES["default"] | none | parameters)
    arms, beside = plan.arms(run), variants.arms(run)
    made = ("train", "oracle", "path", "portraits", "layer_scores", "recorded", "compared", "words")
    cells = [cell for arm in arms for cell in grid.cells(arm)]
    cells += [*variants.cells(run), *compare.cells(run), *words.cells(run)]
    cells = [cell for cell in cells if cell.stage in made]
    made = [stage for stage in made if any(cell.stage == stage for cell in cells)]
    tables = {
        stage: pd.concat([observations_of(c, world) for c in cells if c.stage == stage], ignore_index=True)
        for stage in made
    }
    told = [
        {"key": f"{zlib.crc32(c.title.encode()):08x}", "stage": c.stage, "arm": c.arm, "seed": c.seed}
        | {"title": c.title, "seconds": 1.0, "peak_bytes": 1_000_000, "made": MADE}
        for c in cells
    ]
    collect.write(build / name / "data", run, arms, told, tables, beside)
    return Run(name, **options)
