"""The cells that compare methods: a seed's training with others recorded too, and a path a method.

What retain texts or stored gradients a method sees are never of the facts that its path scores; what trains
again on all that is left (retraining, SISA, exact replay, rewind, certified removal) sees these too. Imports
no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from unlearnkit.claims.methods import PRINCIPAL
from unlearnkit.errors import MethodError, unknown
from unlearnkit.study import config, plan, trials
from unlearnkit.study.cells import Cell
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm, Setting
from unlearnkit.study.profiles import Profile
from unlearnkit.study.walks import path

HESSIAN = ("all_epochs", "hf_ocu")  # how much of the gap to the oracle is the Hessian that replay leaves out


@dataclass(frozen=True)
class Comparison:
    """Makes the cells of one training seed; its oracles are those of the study."""

    arm: Arm
    setting: Setting

    @cached_property
    def seed(self) -> Seed:
        return Seed(self.arm, self.setting)

    @cached_property
    def groups(self) -> dict:
        """The study's groups; recorded are all facts that no path scores, or all where these are nobody's."""
        scored = {e.id for e in self.setting.retain()}
        record = [e.id for e in self.setting.facts if e.id not in scored]
        if set(record) <= set(self.setting.forget):
            record = [e.id for e in self.setting.facts]
        return self.seed.groups | {"record": record, "control": self.setting.unscored_control()}

    @cached_property
    def train(self) -> Cell:
        return self.seed.cell("recorded", "compare", self.groups, self.seed.seconds[0] * 1.3)

    def walk(self, name: str, options: dict) -> Cell:
        """The cell of one method's path with these options."""
        steps = trials.path_steps(name)
        spec = path(name, name, steps, options=options, stop=config.COMPARED_STOP)
        spec |= {"divided": True} if name in trials.DIVIDED else {}
        given = self.groups | {"layers": "all", "paths": [spec], "tokens": config.UTILITY_TOKENS}
        given["holdout"] = self.seed.wide["holdout"]
        given["readings"] = {"damage": list(config.DAMAGE_LEVELS)} | config.REFINED
        seconds = config.POINTS_A_STEP * len(steps) * self.seed.seconds[1]
        needs = (self.train, *self.seed.oracles)
        return self.seed.cell("compared", "compare", given, seconds, needs, name)

    def tuned(self, name: str) -> Cell:
        """The cell of one method as it was tuned on this family of models."""
        recipe = self.arm.recipe
        return self.walk(name, trials.chosen(plan.family(self.arm.model), name, recipe))


def cells(profile: Profile) -> list[Cell]:
    """Every cell of the comparison, each after those it needs."""
    found: list[Cell] = []
    models = {*config.TUNED.values(), profile["model"]}
    for arm in plan.arms(profile):
        if arm.model not in models:
            continue
        for setting in arm.settings:
            if names := methods_of(profile, arm, setting):
                one = Comparison(arm, setting)
                found += [one.train, *(one.tuned(name) for name in names)]
    return found


def methods_of(profile: Profile, arm: Arm, setting: Setting) -> list[str]:
    """The methods whose paths a seed walks: the principal ones, or all; none in later seeds.

    The run's own model has a number of seeds for either, gpt2-tiny beside it has one for all methods, and the
    other companions have another. After plain SGD one thing is asked, of gpt2-tiny: what HESSIAN asks.
    """
    if arm.optimizer != "adamw":
        asked = arm.model == config.TINY and setting.seed < profile["seeds_hessian"]
        return list(HESSIAN) if asked else []
    if arm.model == profile["model"]:
        principal, others = profile["seeds_principal"], profile["seeds_others"]
    else:
        seeds = profile["seeds_methods" if arm.model == config.TINY else "seeds_methods_beside"]
        principal = others = seeds
    wanted = {True: setting.seed < principal, False: setting.seed < others}
    return [name for name in trials.names() if wanted[name in PRINCIPAL]]


def chosen(profile: Profile, names: list[str]) -> list[Cell]:
    """The cells of these methods in every seed of a run's first arm, whatever its profile compares.

    MethodError for a method that cannot be compared, and for none.
    """
    for name in names or [""]:
        if name not in trials.names():
            raise MethodError(unknown("method", name, trials.names()))
    arm = plan.arms(profile)[0]
    found: list[Cell] = []
    for setting in arm.settings:
        one = Comparison(arm, setting)
        found += [one.seed.train, *one.seed.oracles, one.train, *map(one.tuned, names)]
    return found


def trial_cells(model: str, setting: Setting, told: Mapping[str, list[dict]]) -> dict[tuple[str, int], Cell]:
    """By (method, number of the trial), the cells of a tuning world; `told` are each method's trials."""
    one = Comparison(Arm(model, "adamw", plan.recipe(model, "adamw"), (setting,), False), setting)
    return {
        (name, number): replace(cell, title=f"{cell.title}, trial {number + 1}")
        for name, settings in told.items()
        for number, given in enumerate(settings)
        for cell in [one.walk(name, trials.options(name, given, one.arm.recipe))]
    }
