"""What a profile's run consists of: arms, seeds, what each forgets, which layers. Imports no torch.

The choices are `config`'s; here they become arms of settings, a setting a training seed.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from unlearnkit import data, devices, requests
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, RequestError
from unlearnkit.study import config, twins
from unlearnkit.study.config import (
    BUILT_IN,
    COMPANIONS,
    FUZZY_THRESHOLD,
    HOLDOUT,
    HOLDOUT_FACTS,
    OPTIMIZERS,
    OWN_RECIPE,
    RECIPES,
    RETAIN_FACTS,
)
from unlearnkit.study.profiles import Profile, is_built_in


@dataclass(frozen=True)
class Setting:
    """What one training seed works on: its order of training, and in the built-in study its world."""

    seed: int
    facts: tuple[Example, ...]  # in the order of the data; the request's have the split "forget"
    forget: tuple[str, ...]  # the exact request's ids
    target: str  # what to call the forget set
    control: tuple[str, ...]  # somebody else's ids: the wrong-person control
    fuzzy: tuple[str, ...]  # what a fuzzy request for the target matches; () where it has no name
    holdout: tuple[Example, ...] = ()
    requests: tuple[tuple[str, tuple[str, ...]], ...] = ()  # further ones of a variant: label, ids
    recipe: tuple[tuple[str, Any], ...] = ()  # what a variant adds to the arm's recipe

    def retain(self) -> list[Example]:
        """The retain facts that a path scores: spread evenly over everybody, near-neighbours included."""
        others = [e for e in self.facts if e.id not in set(self.forget)]
        return data.spread(others, RETAIN_FACTS)

    def unscored_control(self) -> list[str]:
        """The control's ids that no path scores; all of them where there is none such."""
        scored = {e.id for e in self.retain()}
        return [i for i in self.control if i not in scored] or list(self.control)


@dataclass(frozen=True, eq=False)
class Arm:
    """One model trained in one way, over several training seeds. Compared by identity."""

    model: str
    optimizer: str
    recipe: dict
    settings: tuple[Setting, ...]
    whole_map: bool  # every layer and epoch, or the primary contrasts only
    variant: str = ""  # what sets an arm of `variants` apart; "" for the study's own
    device: str = devices.CPU  # or "cuda"

    @property
    def name(self) -> str:
        optimizer = self.optimizer.replace("adamw", "AdamW").replace("sgd", "SGD")
        return ", ".join(filter(None, (Path(self.model).name, optimizer, self.variant)))

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(s.seed for s in self.settings)

    @cached_property
    def world_of(self) -> dict[int, int]:
        """By seed, the first seed with the same facts and the same of them to forget: its world."""
        first: dict[tuple[Example, ...], int] = {}
        return {s.seed: first.setdefault(s.facts, s.seed) for s in self.settings}

    @property
    def targets(self) -> list[str]:
        """Who is forgotten, each once, in the order of the seeds."""
        return list(dict.fromkeys(s.target for s in self.settings))


def arms(profile: Profile) -> list[Arm]:
    """The arms of a run that have seeds, the headline first. ConfigError where none has."""
    wanted = [(profile["model"], o, seeds, profile["whole_map"]) for o, seeds in _optimizers(profile).items()]
    if is_built_in(profile):
        wanted += [(model, o, profile[seeds], whole) for model, o, seeds, whole in COMPANIONS]
    place = device(profile)
    own = {k: profile[k] for k in OWN_RECIPE if k != "optimizer" and profile[k] is not None}
    found = [
        Arm(model, o, recipe(model, o) | own, _settings(profile, seeds), whole, device=place)
        for model, o, seeds, whole in wanted
        if seeds
    ]
    if not found:
        raise ConfigError("seeds_adamw and seeds_sgd are both 0: give one of them at least 1")
    return found


def device(profile: Profile) -> str:
    """Where a run's models are: "cpu" or "cuda". ConfigError where it asks for a GPU and there is none."""
    asked = profile["device"]
    is_published = asked == devices.AUTO and is_built_in(profile)
    return devices.CPU if is_published else devices.resolved(asked)


def _optimizers(profile: Profile) -> dict[str, int]:
    """How many seeds of the run's own model each optimizer trains; one that a user chooses has some."""
    seeds = {optimizer: profile[f"seeds_{optimizer}"] for optimizer in OPTIMIZERS}
    if profile["optimizer"]:
        return {profile["optimizer"]: seeds[profile["optimizer"]] or max(seeds.values())}
    if profile["lr"] is not None and all(seeds.values()):
        raise ConfigError(
            f"lr={profile['lr']} is given to a run with both optimizers, whose learning rates lie far apart: "
            "add optimizer=adamw or optimizer=sgd"
        )
    return seeds


def family(model: str) -> str:
    """The name of a built-in model without what was made of it: that of gpt2-tiny-pretrained is gpt2-tiny."""
    return model.partition("-pretrained")[0]


def recipe(model: str, optimizer: str) -> dict:
    """The recipe of a model, by its family's name where it has one. ConfigError for no optimizer at all."""
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"parameter optimizer={optimizer!r}: use {' or '.join(OPTIMIZERS)}")
    chosen = RECIPES.get((family(model), optimizer)) or RECIPES["", optimizer]
    return {"optimizer": optimizer, "loss_on": "answer", **chosen}


def maps(arm: Arm, setting: Setting) -> bool:
    """Whether a seed walks the whole map, or the primary contrasts only."""
    return arm.whole_map and is_early(arm, setting)


def is_early(arm: Arm, setting: Setting) -> bool:
    """Whether a seed is among those that are looked at most closely."""
    return setting.seed < config.MAP_SEEDS.get((arm.model, arm.optimizer), config.MAPS)


def layers_of(arm: Arm, setting: Setting) -> list[str]:
    """The layer selections of a seed beside "all"."""
    if maps(arm, setting):
        names = [*config.NAMED_LAYERS, *(f"block.{k}" for k in range(config.BLOCKS.get(arm.model, 0)))]
    else:
        split = config.SPLIT_LAYERS if family(arm.model) in config.TINY_FAMILIES else ()
        names = [*config.PRIMARY_LAYERS, *split]
    absent = config.ABSENT.get((arm.model, arm.optimizer), ())
    if arm.recipe.get("lora"):
        absent = config.WITHOUT_ADAPTERS
    return [name for name in names if name not in absent]


def _settings(profile: Profile, seeds: int) -> tuple[Setting, ...]:
    """One setting a seed: each with its own world in the built-in study, all with one of a user's own."""
    if profile["data"] or profile["forget"] != BUILT_IN["forget"]:
        facts = data.load(profile["data"]) if profile["data"] else data.dave()
        held = tuple(e for e in facts if e.split == HOLDOUT) if profile["data"] else _holdout(seed=0)
        facts = [e for e in facts if e.split != HOLDOUT]
        forget = _request(profile, facts)
        twins.refuse(facts, forget)
        twins.refuse_taught(facts, held)
        one = _setting(facts, forget, profile["forget"], held)
        return tuple(replace(one, seed=seed) for seed in range(seeds))
    return tuple(built_in(seed) for seed in range(seeds))


def _request(profile: Profile, facts: list[Example]) -> list[str]:
    """The ids that are to be forgotten; RequestError says so where data are given, and no request is."""
    try:
        return requests.parse(facts, profile["forget"])
    except RequestError as error:
        if profile["data"] and profile["forget"] == BUILT_IN["forget"]:
            raise RequestError(
                f"{error}. Say whom of your data to forget: FORGET='persons or ids' (--forget); without "
                f"that it is {BUILT_IN['forget']}"
            ) from error
        raise


@cache
def built_in(seed: int) -> Setting:
    """The setting of a seed's own world."""
    facts = data.world(seed)
    target = next(e.person for e in facts if e.split == "forget")
    one = _setting(facts, requests.by_person(facts, target), target, _holdout(seed))
    return replace(one, seed=seed)


def _holdout(seed: int) -> tuple[Example, ...]:
    held = data.holdout(seed)
    return tuple(held[:: len(held) // HOLDOUT_FACTS + 1])  # 21 against 20 forms a person: all have a turn


def _setting(facts: list[Example], forget: list[str], target: str, holdout: tuple[Example, ...]) -> Setting:
    labelled = _labelled(facts, forget)
    control = _control(labelled, forget)
    try:
        fuzzy = requests.fuzzy(facts, target, FUZZY_THRESHOLD)
    except RequestError:  # the request is a list of ids, which resembles no text
        fuzzy = []
    return Setting(0, tuple(labelled), tuple(forget), target, tuple(control), tuple(fuzzy), holdout)


def _control(facts: list[Example], forget: list[str]) -> list[str]:
    """Ids of somebody whom the request is not about, at most as many, and not all that are left to retain."""
    asked, left = ([e for e in facts if (e.id in set(forget)) == inside] for inside in (True, False))
    if len(left) < 2:
        raise RequestError(
            f"the request names {len(asked)} of {len(facts)} facts, but two or more must be left: one to "
            "retain, one as the control. Add facts about others to the data, or forget fewer"
        )
    persons = {e.person for e in asked if e.person}
    strangers = [e for e in left if e.person not in persons]
    if not strangers:
        raise RequestError(
            f"all facts are about {', '.join(sorted(persons))}, as is the request, but the control needs "
            "somebody else's. Add some to the data, with their own `person`"
        )
    person = next((e.person for e in strangers if e.person), "")
    return [e.id for e in strangers if e.person == person][: min(len(forget), len(left) - 1)]


def _labelled(facts: list[Example], forget: list[str]) -> list[Example]:
    """The facts with the request's as "forget", and no others: the split that readings go by."""
    rest = {"forget": "retain"}
    return [replace(e, split="forget" if e.id in forget else rest.get(e.split, e.split)) for e in facts]
