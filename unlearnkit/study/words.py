"""The cells behind the playground: what a model says along some paths, and at their ends. Imports no torch.

They are for looking, not for testing: one training seed, a few methods, requests and layers of `config`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearnkit.study import config, plan, trials
from unlearnkit.study.cells import Cell
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm
from unlearnkit.study.profiles import Profile
from unlearnkit.study.walks import path


def cells(profile: Profile) -> list[Cell]:
    """Every such cell of a run, each after those it needs."""
    return [
        cell
        for arm in arms(profile)
        for setting in arm.settings[: profile["seeds_words"]]
        for cell in Words(Seed(arm, setting)).cells()
    ]


def arms(profile: Profile) -> list[Arm]:
    """The first arm of the run's own model, and of gpt2-tiny where the run has it beside."""
    first = {arm.model: arm for arm in reversed(plan.arms(profile))}
    return [first[model] for model in dict.fromkeys((profile["model"], config.TINY)) if model in first]


@dataclass(frozen=True)
class Words:
    """Makes the cells of one training seed."""

    seed: Seed

    @property
    def needs(self) -> tuple[Cell, ...]:
        return self.seed.train, *self.seed.oracles

    def cells(self) -> list[Cell]:
        """The ends, where paths begin and where they should lead, and the paths."""
        ends = self._cell("all", [], 2.0, "at the ends")
        return [ends, *(self.walk(layers, spec) for layers, spec in self.paths())]

    def walk(self, layers: str, spec: dict) -> Cell:
        """The cell of one path."""
        request, epochs = spec.get("request", "forget"), spec["options"].get("epochs", "all")
        epoch = spec["options"].get("epoch", "" if epochs == "all" else epochs[0])
        told = f"{spec['method']}{f' of epoch {epoch}' if epoch else ''} on {layers}"
        points = len(spec["steps"]) + config.POINTS_A_STEP * config.WORDS_READINGS["most"]
        return self._cell(layers, [spec], points, told + ("" if request == "forget" else f", {request}"))

    def paths(self) -> Iterator[tuple[str, dict]]:
        """(layers, path) of every walk: all methods on all layers; the main ones elsewhere, for others."""
        arm, setting = self.seed.arm, self.seed.setting
        yield from (("all", spec) for method in config.WORDS_METHODS for spec in self._specs(method, "all"))
        for method in config.WORDS_MAIN:
            for layers in config.PRIMARY_LAYERS:
                if layers in plan.layers_of(arm, setting):
                    yield from ((layers, spec) for spec in self._specs(method, layers)[:1])
            for request in config.WORDS_REQUESTS:
                if getattr(setting, request):
                    yield from (("all", s | {"request": request}) for s in self._specs(method, "all")[:1])

    def _specs(self, method: str, layers: str) -> list[dict]:
        """A method's paths on some layers: one for each choice of epochs, where it has one."""
        arm, last = self.seed.arm, self.seed.arm.recipe["epochs"]
        chosen = trials.chosen(plan.family(arm.model), method, arm.recipe)
        alone = sorted({epoch for epoch in (*config.WORDS_EPOCHS, last) if 1 < epoch <= last})
        choices = {
            "single_epoch": [{"epoch": epoch} for epoch in alone],
            "adam_replay": [{"epochs": "all"}, {"epochs": [1]}] if arm.optimizer == "adamw" else [],
        }
        back = config.WORDS_STEPS if layers == "all" else config.WORDS_FEW_STEPS
        steps = trials.path_steps(method, back, config.WORDS_FRESH_STEPS, config.WORDS_TRAINED_STEPS)
        return [
            path(method, method, steps, options=chosen | more, stop=config.WORDS_STOP)
            for more in choices.get(method, [{}])
        ]

    def _cell(self, layers: str, paths: list[dict], points: float, what: str) -> Cell:
        given = self.seed.groups | {"layers": layers, "paths": paths, "samples": config.SAMPLES}
        given |= {"shown": self._shown(), "readings": config.WORDS_READINGS}
        seconds = 2 * points * self.seed.seconds[1]  # to say something takes as long as to score facts
        return self.seed.cell("words", "words", given, seconds, self.needs, what)

    def _shown(self) -> list[str]:
        """Ids of the facts whose prompts are continued: of a person's in their order, of others' spread."""
        setting = self.seed.setting
        others = [e.id for e in setting.retain()]
        count = min(config.SAID_OF["retain"], len(others))
        spread = [others[(2 * k + 1) * len(others) // (2 * count)] for k in range(count)]
        return [*setting.forget[: config.SAID_OF["forget"]], *spread]
