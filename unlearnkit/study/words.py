"""The cells behind the playground: what a model says along some paths, and at their ends. Imports no torch.

They are for looking, not for testing: one training seed, a few methods, requests and layers, all told here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from unlearnkit import data
from unlearnkit.study import config, plan, trials
from unlearnkit.study.cells import Cell
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm
from unlearnkit.study.profiles import Profile
from unlearnkit.study.walks import path

SAID_OF = {"forget": 6, "retain": 2}  # facts whose prompts are continued, spread over those that paths score
SAMPLES = 3  # continuations drawn of each, beside the greedy one
# A line's grid on all layers and on few, one that cannot go back, and optimizer steps; then a step or two
# towards matched forgetting and towards the closest approach.
STEPS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
FEW_STEPS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
FRESH_STEPS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12)
TRAINED_STEPS = (1, 2, 4, 8, 16, 24, 32, 48)
READINGS = config.REFINED | {"damage": [], "most": 1}
EPOCHS = (2,)  # epochs that are replayed alone, and the last
METHODS = (
    *("first_epoch", "all_epochs", "single_epoch", "adam_replay", "kfac_replay", "gradient_ascent", "npo"),
)
MAIN = ("first_epoch", "adam_replay")  # walked on few layers, and for other requests, too
REQUESTS = ("fuzzy", "control")  # beside the exact one: a request by name, and somebody else instead


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
        points = len(spec["steps"]) + config.POINTS_A_STEP * READINGS["most"]
        return self._cell(layers, [spec], points, told + ("" if request == "forget" else f", {request}"))

    def paths(self) -> Iterator[tuple[str, dict]]:
        """(layers, path) of every walk: all methods on all layers; the main ones elsewhere, for others."""
        arm, setting = self.seed.arm, self.seed.setting
        yield from (("all", spec) for method in METHODS for spec in self._specs(method, "all"))
        for method in MAIN:
            for layers in config.PRIMARY_LAYERS:
                if layers in plan.layers_of(arm, setting):
                    yield from ((layers, spec) for spec in self._specs(method, layers)[:1])
            for request in REQUESTS:
                if getattr(setting, request):
                    yield from (("all", s | {"request": request}) for s in self._specs(method, "all")[:1])

    def _specs(self, method: str, layers: str) -> list[dict]:
        """A method's paths on some layers: one for each choice of epochs, where it has one."""
        arm, last = self.seed.arm, self.seed.arm.recipe["epochs"]
        chosen = trials.chosen(plan.family(arm.model), method, arm.recipe)
        alone = sorted({epoch for epoch in (*EPOCHS, last) if 1 < epoch <= last})
        choices = {
            "single_epoch": [{"epoch": epoch} for epoch in alone],
            "adam_replay": [{"epochs": "all"}, {"epochs": [1]}] if arm.optimizer == "adamw" else [],
        }
        back = STEPS if layers == "all" else FEW_STEPS
        steps = trials.path_steps(method, back, FRESH_STEPS, TRAINED_STEPS)
        return [
            path(method, method, steps, options=chosen | more, stop=config.COMPARED_STOP)
            for more in choices.get(method, [{}])
        ]

    def _cell(self, layers: str, paths: list[dict], points: float, what: str) -> Cell:
        given = self.seed.groups | {"layers": layers, "paths": paths, "samples": SAMPLES}
        given |= {"shown": self._shown(), "readings": READINGS}
        seconds = 2 * points * self.seed.seconds[1]  # to say something takes as long as to score facts
        return self.seed.cell("words", "words", given, seconds, self.needs, what)

    def _shown(self) -> list[str]:
        """Ids of the facts whose prompts are continued: of a person's in their order, of others' spread."""
        setting = self.seed.setting
        others = [e.id for e in setting.retain()]
        return [*setting.forget[: SAID_OF["forget"]], *data.spread(others, SAID_OF["retain"])]
