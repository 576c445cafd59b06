"""The cells of verification: in each world oracles and methods at matched forgetting, with every test.

worlds       the study's own, all rows of the protocol but the two below; beside the methods do nothing and
             the wrong person, which must fail. A second oracle, measured with the first, sets margins; a
             third, which has no part in them, must pass. In some, too, what answers as the oracle does and
             has forgotten nothing (`experiments.imitate`), and the setting that chapter 10 advises on tiny
             models: AdamW's updates on the embedding
coins        one-run audits: persons drawn by coins are trained on beside a world's others, and all of them
             are asked to be forgotten; those whom the coin left out are the hold-out persons
populations  one world in many orders of training, an arm a world: some are also unlearned, others stand in an
             unlearned model's place (KLoM)

Imports no torch.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from unlearnkit import data
from unlearnkit.claims.methods import PRINCIPAL
from unlearnkit.study import config, plan, trials
from unlearnkit.study.cells import Cell
from unlearnkit.study.compare import Comparison
from unlearnkit.study.plan import Arm, Setting
from unlearnkit.study.profiles import Profile, is_built_in
from unlearnkit.study.walks import path

COINS, POPULATION = "coins", "orders of world"  # variants' names; a population's goes on with its world
CONTROLS = ("noop", "wrong_person")
IMITATOR, ADVISED = "imitator", "adam_embedding"  # labels of paths that are no method's own
TESTS = ("facts", "membership", "quantisation", "leakage", "relearning", "depth", "lens", "probes")
ATTACKS = ("loss", "zlib", "min_k", "min_k_pp", "reference")
METRICS = (
    *(f"mia_{attack}" for attack in ATTACKS),
    *(f"nll_int{bits}" for bits in config.VERIFIED["bits"]),
    *(f"{what}_{k}" for what in ("leak", "recall") for k in config.VERIFIED["leaks"]),
    *("relearnt_half", "relearnt_others", "uds", "nll_lens", "nll_asked", "nll_known"),
)


@dataclass(frozen=True)
class Verification(Comparison):
    """Makes the cells of one training seed: `tests` are made of each model, `orders` is how many oracles.

    Of long texts the ledger keeps whole gradients, unless it is to keep `factors`.
    """

    tests: tuple[str, ...] = TESTS
    orders: int = 2
    factors: bool = False

    @cached_property
    def train(self) -> Cell:
        if not self.factors:
            return super().train
        given = self.groups | {"factors": True}
        return self.seed.cell("recorded", "compare", given, self.seed.seconds[0] * 1.3, what="as factors")

    @cached_property
    def given(self) -> dict:
        """What both kinds of cells depend on."""
        told = config.VERIFIED | {"tests": list(self.tests)}
        return self.groups | {"holdout": self.seed.wide["holdout"], "tokens": config.UTILITY_TOKENS} | told

    @cached_property
    def oracles(self) -> Cell:
        """In the order of the fine-tuning, then in orders of no seed; weights are kept for depth alone."""
        seeds = [self.setting.seed + k * config.MOST_SEEDS for k in range(self.orders)]
        deep = "depth" in self.tests
        given = self.given | {"orders": seeds, "keeps": "oracles" if deep else ""}
        seconds = self.orders * (self.seed.seconds[0] + self._examination)
        needs = (self.train,) if deep else ()
        return self.seed.cell("verified_oracles", "verify", given, seconds, needs)

    @cached_property
    def third(self) -> Cell:
        """One more oracle, in another order of no seed: judged in an unlearned model's place."""
        seed = self.setting.seed + self.orders * config.MOST_SEEDS
        given = self.given | {"orders": [seed], "keeps": "", "after": self.orders}
        seconds = self.seed.seconds[0] + self._examination
        return self.seed.cell(
            "verified_oracles", "verify", given, seconds, (self.train, self.oracles), "third"
        )

    def at(self, name: str) -> Cell:
        """The cell of one method, as it was tuned on this family of models."""
        options = trials.chosen(plan.family(self.arm.model), name, self.arm.recipe)
        return self.along(path(name, name, steps_of(name), options=options))

    def along(self, spec: dict) -> Cell:
        """The cell of a path."""
        given = self.given | {"layers": "all", "paths": [spec], "near": config.VERIFIED_NEAR}
        seconds = 10 * self.seed.seconds[1] + self._examination
        return self.seed.cell("verified", "verify", given, seconds, (self.train, self.oracles), spec["label"])

    def further(self) -> list[Cell]:
        """The cells of the oracle's imitator and of what chapter 10 advises."""
        advised = path(ADVISED, "adam_replay", config.ADAM_LAYER_STEPS, parts=["embedding"])
        return [self.along(path(IMITATOR, "noop", (), imitates=config.IMITATION)), self.along(advised)]

    @property
    def _examination(self) -> float:
        """Expected seconds of all tests of a model: measured in path points."""
        return self.seed.seconds[1] * (30 if self.tests == TESTS else 1)

    def cells(self, names: Iterable[str]) -> list[Cell]:
        """The training, the oracles, the methods."""
        return [self.train, self.oracles, *(self.at(name) for name in names)]


def steps_of(name: str) -> tuple[float, ...]:
    """Where a way to matched forgetting is looked at: as when methods are compared, but at every step of an
    optimizer; nowhere, of the control that does nothing."""
    if name == "noop":
        return ()
    found = trials.path_steps(name)
    return tuple(range(1, found[-1] + 1)) if found == config.COMPARED_TRAINED_STEPS else found


def cells(profile: Profile) -> list[Cell]:
    """Every cell of the worlds, each after those it needs: of the arms that AdamW trained."""
    found: list[Cell] = []
    for arm in plan.arms(profile) if is_built_in(profile) else ():
        is_main = arm.model == profile["model"]
        names = config.VERIFIED_MAIN if is_main else PRINCIPAL
        if arm.optimizer != "adamw" or not is_main and arm.model not in config.TUNED.values():
            continue
        small = "seeds_verified" if arm.model == config.TINY else "seeds_verified_beside"
        seeds = profile["seeds_verified_main" if is_main else small]
        for setting in (s for s in arm.settings if s.seed < seeds):
            one = Verification(arm, setting)
            found += [*one.cells([*CONTROLS, *names]), one.third]
            if arm.model == config.TINY and setting.seed < profile["seeds_further"]:
                found += one.further()
    return found


def arms(profile: Profile) -> list[Arm]:
    """The arms of the coins and of the populations, which are variants of gpt2-tiny."""
    if not is_built_in(profile):
        return []
    wanted = {COINS: [drawn(seed) for seed in range(profile["seeds_audit"])]}
    for world in range(profile["seeds_klom"]):
        one = plan.built_in(world)
        last = config.FIRST_ORDER + config.POPULATION + config.IN_PLACE
        orders = range(config.FIRST_ORDER, last)
        wanted[f"{POPULATION} {world}"] = [replace(one, seed=order) for order in orders]
    recipe = plan.recipe(config.TINY, "adamw")
    return [
        Arm(config.TINY, "adamw", recipe, tuple(settings), False, variant, plan.device(profile))
        for variant, settings in wanted.items()
        if settings
    ]


def cells_beside(arm: Arm, setting: Setting) -> list[Cell]:
    """The cells of one seed of such an arm."""
    names = (*CONTROLS, *PRINCIPAL)
    if arm.variant == COINS:
        return Verification(arm, setting, ("facts", "coins"), 1).cells(names)
    one = Verification(arm, setting, ("facts",), 1)
    is_unlearned = setting.seed < config.FIRST_ORDER + config.POPULATION // 2
    return one.cells(names) if is_unlearned else [one.oracles]


def drawn(seed: int) -> Setting:
    """A world's retained persons, and others, each of whom a coin has trained on (to be forgotten) or not.

    All of these have the same forms, and nobody's answers are another's.
    """
    count, few = config.COIN_PERSONS, config.COIN_FACTS
    facts = [e for e in data.world(seed) if e.split == "retain"]
    strangers = data.holdout(seed, count)
    names = list(dict.fromkeys(e.person for e in strangers))
    rng = random.Random(f"{seed}/coins")
    heads = {name for name in names if rng.random() < 0.5}
    told = [e for name in names for e in [e for e in strangers if e.person == name][:few]]
    gone = tuple(replace(e, split="forget") for e in told if e.person in heads)
    out = tuple(e for e in told if e.person not in heads)
    control = [e.id for e in facts if e.person == facts[0].person]
    ids = tuple(e.id for e in gone)
    return Setting(seed, (*gone, *facts), ids, "the drawn persons", tuple(control), (), out)
