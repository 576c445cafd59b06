"""The cells of an arm: what is trained, which paths are walked, what is measured there. Imports no torch.

Each path is a cell, so that adding a method, a layer or a seed runs only what is new.
"""

import random
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property

from unlearnkit.data import Example
from unlearnkit.devices import CPU
from unlearnkit.study import config, plan, walks
from unlearnkit.study.cells import Cell, Shared
from unlearnkit.study.plan import Arm, Setting, is_early, maps
from unlearnkit.unlearning import METHODS

KINDS = {
    "base": "fine-tuning without the forget set",
    "train": "fine-tuning",
    "oracle": "oracles",
    "path": "unlearning paths",
    "recorded": "fine-tuning, others recorded too",
    "compared": "methods side by side",
    "verified_oracles": "oracles under every test",
    "verified": "methods under every test",
    "sequence_oracle": "oracles of requests in sequence",
    "sequence": "requests in sequence",
    "words": "what models say",
    "portraits": "close-ups",
    "durations": "influence and extraction by duration",
    "alignment": "alignment of gradients",
    "layer_scores": "scores that choose layers",
    "tracin": "influence of all on all",
    "retrain": "retraining to validate influence",
    "recipe": "fine-tuning with the other optimizer",
    "rewind": "rewind identity",
}


@dataclass(frozen=True)
class Seed:
    """Makes the cells of one training seed of an arm.

    The fine-tuning starts from the model's own weights, or where an earlier training in `begins` ended.
    """

    arm: Arm
    setting: Setting
    begins: tuple[Cell, ...] = ()

    @cached_property
    def base(self) -> dict:
        """What every cell depends on: whole facts, so that a cell needs nothing else."""
        setting, arm = self.setting, self.arm
        wanted = {*setting.forget, *setting.control, *setting.fuzzy}
        wanted |= {i for _, ids in setting.requests for i in ids}
        everything = setting.seed == 0 and arm.optimizer == "adamw"  # other ledgers keep what is replayed
        begins = {"nudged": True} if arm.variant == config.NUDGED else {}
        return begins | {
            "model": arm.model,
            "recipe": arm.recipe | dict(setting.recipe) | {"seed": setting.seed},
            "facts": _rows(setting.facts),
            "record": [e.id for e in setting.facts if everything or e.id in wanted],
            "tokens": config.UTILITY_TOKENS,
        }

    @cached_property
    def groups(self) -> dict:
        """The base with whom to forget and whom to watch."""
        ids = {k: list(getattr(self.setting, k)) for k in ("forget", "control", "fuzzy")}
        return self.base | ids | {"retain": [e.id for e in self.setting.retain()]}

    @cached_property
    def wide(self) -> dict:
        """What close-ups look at beside: never-trained facts, and twice the running text."""
        return {"holdout": _rows(self.setting.holdout), "tokens": 2 * config.UTILITY_TOKENS}

    @property
    def seconds(self) -> tuple[float, float]:
        """Expected: of the optimizer steps of a training, and of one path point."""
        step_s, point_s = config.SECONDS.get(self.arm.model, config.SECONDS[""])
        steps = self.arm.recipe["epochs"] * -(-len(self.setting.facts) // self.arm.recipe["batch_size"])
        return step_s * steps, point_s

    def cell(self, stage: str, module: str, given: dict, seconds: float, needs=(), what: str = "") -> Cell:
        """A cell of this seed; alone in its chain where `what` tells it from others of its stage."""
        where = f"{self.arm.name}, seed {self.setting.seed}"
        return Cell(
            title=f"{KINDS[stage]}{what and ', ' + what} ({where})",
            estimate_s=seconds,
            group=f"{KINDS[stage]} ({self.arm.name})",
            chain=where,
            stage=stage,
            module=module,
            arm=self.arm.name,
            seed=self.setting.seed,
            config=given if self.arm.device == CPU else given | {"device": self.arm.device},
            needs=needs,
        )

    @cached_property
    def train(self) -> Cell:
        return self.cell("train", "train", self.groups, self.seconds[0] * 1.3, self.begins)

    @cached_property
    def oracles(self) -> tuple[Cell, ...]:
        """Retrained without the forget set: in the order of the fine-tuning, then in orders of no seed."""
        base, seconds = self.groups | self.wide, self.seconds[0] + 4 * self.seconds[1]
        if self.arm.variant:
            base = self.groups | {"close_up": False}
        found = [self.cell("oracle", "oracles", base, seconds, (self.train,))]
        for order in range(2, config.ORACLES.get(self.arm.model, 1) + 1):
            seed = self.setting.seed + (order - 1) * config.MOST_SEEDS
            given = base | {"order": order, "recipe": base["recipe"] | {"seed": seed}}
            found.append(self.cell("oracle", "oracles", given, seconds, (self.train,), f"order {order}"))
        return tuple(found)

    def cells(self) -> list[Cell]:
        """Every cell, each after those it needs."""
        train, base, point_s = self.train, self.groups, self.seconds[1]
        walked = [self.walk("all", spec) for spec in walks.paths_at_all(self.arm, self.setting)]
        for layers in walks.selections(self.arm, self.setting):
            walked += [self.walk(layers, spec) for spec in walks.paths_on(self.arm, self.setting, layers)]
        given = base | self.wide | {"damage": config.DAMAGE_NATS, "pretrained": self.setting.seed == 0}
        given["close_ups"] = config.CLOSE_UPS
        given["curvature"] = [
            config.CURVATURE_REFERENCE,
            config.CURVATURE_FACTS if self.setting.seed == 0 else 0,
        ]
        needs = (train, *self.oracles, *walked[: len(walks.REFERENCE)])
        close_up = self.cell("portraits", "unlearn", given, point_s * 20, needs)
        found = [train, *self.oracles, *walked, close_up]
        if maps(self.arm, self.setting):
            given = base | {"layers": "all", "holdout": self.wide["holdout"], "paths": walks.durations()}
            found.append(self.cell("durations", "duration", given, point_s * 80, (train,)))
        return [*found, self.cell("alignment", "align", base, point_s * 5, (train, self.oracles[0]))]

    def walk(self, layers: str, spec: dict) -> Cell:
        """The cell of one path, which needs the training, then the oracles; some measure text and ROUGE."""
        label, at_all = spec["label"], layers == "all"
        given = self.groups | {"layers": layers, "paths": [spec]}
        given["rouge"] = at_all and label in walks.REFERENCE and is_early(self.arm, self.setting)
        reads = not self.arm.variant and (at_all or layers in config.PRIMARY_LAYERS)
        given["tokens"] = config.UTILITY_TOKENS if reads else 0
        asks = METHODS[spec["method"]].requires  # of facts that were never trained
        strangers = at_all and label in walks.REQUESTS or asks("until") or asks("fresh")
        given["holdout"] = self.wide["holdout"] if strangers else []
        coarse = spec.get("coarse", False)
        given["readings"] = {} if coarse else {"damage": list(config.DAMAGE_LEVELS)} | config.REFINED
        seconds = self.seconds[1] * (1 if coarse else config.POINTS_A_STEP) * len(spec["steps"])
        needs = (self.train, *self.oracles)
        return self.cell("path", "unlearn", given, seconds, needs, f"{label} on {layers}")


@cache
def _rows(examples: tuple[Example, ...]) -> Shared:
    """Examples in JSON, one object for all seeds that have the same."""
    return Shared(asdict(e) for e in examples)


def cells(arm: Arm) -> list[Cell]:
    """Every cell of an arm, each after those it needs."""
    return [c for setting in arm.settings for c in Seed(arm, setting).cells()] + _validation(arm)


def _validation(arm: Arm) -> list[Cell]:
    """Influence against retraining, in seed 0 of an arm with the whole map on a tiny model."""
    if not (arm.whole_map and arm.model == config.TINY and arm.optimizer == "adamw"):
        return []
    seed = Seed(arm, arm.settings[0])
    base = seed.base | {k: list(getattr(seed.setting, k)) for k in ("forget", "control")}
    found = [seed.cell("tracin", "validate", base, seed.train.estimate_s, (seed.train,))]
    for label, facts in left_out(seed.setting):
        given = base | {"label": label, "exclude": facts}
        cell = seed.cell("retrain", "validate", given, seed.train.estimate_s, (), f"without {label}")
        found.append(replace(cell, chain=cell.title))
    return found


def left_out(setting: Setting) -> list[tuple[str, list[str]]]:
    """Who is left out of each retraining: each person, then random halves of the facts."""
    named: dict[str, list[str]] = {}
    for example in setting.facts:
        group = "near-neighbours" if example.split == "neighbour" else example.person
        named.setdefault(group, []).append(example.id)
    ids = [e.id for e in setting.facts]
    halves = [
        (f"half {k}", sorted(random.Random(f"half {k}").sample(ids, len(ids) // 2)))
        for k in range(config.SUBSETS)
    ]
    return [*named.items(), *halves]


def recipe_cell(arm: Arm) -> Cell:
    """What the other optimizer's recipe does to the same facts; its unlearning is the profile `full`'s."""
    seed = Seed(replace(arm, optimizer="sgd", recipe=plan.recipe(arm.model, "sgd")), arm.settings[0])
    given = {**seed.base, "record": [], "tokens": 2 * config.UTILITY_TOKENS}
    training_s, point_s = seed.seconds
    seconds = training_s + point_s * seed.arm.recipe["epochs"]
    cell = seed.cell("recipe", "train", given, seconds)
    return replace(cell, chain=cell.title)


def rewind_cell(arm: Arm) -> Cell:
    """The ledger's identity on the run's model: three epochs of plain SGD on every parameter, undone."""
    recipe = arm.recipe if arm.optimizer == "sgd" else plan.recipe(arm.model, "sgd")
    rate = recipe["lr"] / (4 if recipe.get("frozen") else 1)  # what may be frozen does not bear the whole one
    seed = Seed(arm, arm.settings[0])
    given = seed.base | {"recipe": recipe | {"epochs": 3, "seed": 0, "frozen": [], "lr": rate}}
    cell = seed.cell("rewind", "train", given, 140)
    return replace(cell, chain=cell.title)
