"""Which paths are walked from a seed: methods, layers, requests and their controls. Imports no torch.

The paper's factorial (epochs x layers x request) is measured as slices through the reference cell, which is
first epoch, all layers, exact request.
"""

import random

from unlearnkit.study import config
from unlearnkit.study.plan import Arm, Setting, layers_of, maps

REFERENCE = ("first_epoch", "all_epochs")  # walked to their end, with ROUGE in the early seeds
REQUESTS = ("fuzzy", "iterative", "iterative_reversed", "recomputed")
OTHER_BLOCKS = "other2"  # what a seed's two blocks that are not the last are called


def path(label: str, method: str, steps: tuple[float, ...], **more) -> dict:
    """One path: the method that walks, where it is looked at, and what the observations call it.

    `request` names the group of facts to forget (default "forget") or `ids` lists them, `options` go to the
    method, `stop` is the retain damage beyond which the path is left once it has met its readings, `coarse`
    keeps it to its steps, `divided` has the line to its first optimizer step looked at too, `parts` are the
    layers that it moves where `layers` of its cell is a name for them.
    """
    return {"label": label, "method": method, "steps": list(steps)} | more


def _far(arm: Arm, steps: tuple[float, ...], times: int = 2) -> tuple[float, ...]:
    """The steps of a path; after plain SGD it goes on by its last leg until it is `times` as long.

    As a share of the way that fine-tuning went, matched forgetting lies farther along there: at 0.16 the
    first epoch had reached it in 1 of 20 worlds.
    """
    if arm.optimizer != "sgd":
        return steps
    end, leg = steps[-1], steps[-1] - steps[-2]
    return (*steps, *(round(end + k * leg, 6) for k in range(1, round((times - 1) * end / leg) + 1)))


def paths_at_all(arm: Arm, setting: Setting) -> list[dict]:
    """The paths on all layers."""
    stop, whole = {"stop": config.STOP_DAMAGE}, maps(arm, setting)
    found = [
        path("first_epoch", "first_epoch", _far(arm, config.STEPS)),
        path("all_epochs", "all_epochs", _far(arm, config.STEPS)),
        path("wrong_person", "wrong_person", _far(arm, config.WRONG_STEPS, 4), **stop),
        path("random_direction", "random_direction", config.RANDOM_STEPS, **stop),
        path("iterative", "iterative", _far(arm, config.ROUND_STEPS)),
        path("recomputed", "gradient_ascent", _far(arm, config.REPEATED_STEPS)),
    ]
    if arm.optimizer == "adamw":
        found.append(_adam("adam_first", [1], config.ADAM_FIRST_STEPS))
        found.append(_adam("adam_replay", "all", config.ADAM_STEPS))
    if setting.fuzzy:
        found.append(path("fuzzy", "first_epoch", _far(arm, config.STEPS), request="fuzzy", **stop))
    if "last2" in layers_of(arm, setting):
        found.append(_random_coordinates("random_last2", "last2", _far(arm, config.LAST_STEPS)))
    if whole:
        like = "embedding" if "embedding" in layers_of(arm, setting) else "first2"
        found.append(_random_coordinates("random_subset", like, config.STEPS[1:]))
        found += _single_epochs(arm)
        found.append(path("iterative_reversed", "iterative", config.ROUND_STEPS, reverse=True))
    return found


def _adam(label: str, epochs: str | list[int], steps: tuple[float, ...]) -> dict:
    """AdamW's updates of some epochs, to their end."""
    return path(label, "adam_replay", steps, options={"epochs": epochs})


def _random_coordinates(label: str, like: str, steps: tuple[float, ...]) -> dict:
    """The control of a layer selection: as many coordinates of the gradient, drawn from everywhere."""
    return path(label, "random_subset", steps, options={"like": like}, stop=config.STOP_DAMAGE, coarse=True)


def _single_epochs(arm: Arm) -> list[dict]:
    """Every epoch alone but the first, which is the reference; "first x E" lies on the reference's line."""
    more = {"stop": config.STOP_DAMAGE, "coarse": True}
    return [
        path(f"epoch_{e}", "single_epoch", config.LAYER_STEPS, options={"epoch": e}, **more)
        for e in range(2, arm.recipe["epochs"] + 1)
    ]


def paths_on(arm: Arm, setting: Setting, layers: str) -> list[dict]:
    """The paths on one layer selection, with its own controls of equal length."""
    stop, single = {"stop": config.STOP_DAMAGE}, layers.startswith("block.")
    rough = layers not in config.PRIMARY_LAYERS  # the map; its steps are looked at, no more
    if layers == OTHER_BLOCKS:
        parts = other_blocks(arm, setting)
        steps = _far(arm, config.LAST_STEPS)
        return [path("first_epoch", "first_epoch", steps, parts=parts, coarse=True)]
    found = [path("first_epoch", "first_epoch", _far(arm, config.LAYER_STEPS), **stop, coarse=rough)]
    if maps(arm, setting) and not single:
        found.append(path("all_epochs", "all_epochs", config.LAYER_STEPS, **stop, coarse=rough))
    found += [path(name, name, steps, **stop, coarse=True) for name, steps in config.LAYER_CONTROLS.items()]
    if layers == "embedding" and arm.optimizer == "adamw":
        found.append(_adam("adam_replay", "all", config.ADAM_LAYER_STEPS))
    if maps(arm, setting) and layers == "embedding":
        found += _single_epochs(arm)
    return found


def selections(arm: Arm, setting: Setting) -> list[str]:
    """The layer selections that a seed walks on beside "all": its layers, and the last blocks' control."""
    layers = layers_of(arm, setting)
    control = [OTHER_BLOCKS] if "last2" in layers and arm.model in config.BLOCKS else []
    return [*layers, *control]


def other_blocks(arm: Arm, setting: Setting) -> list[str]:
    """Two blocks that are not the last two, drawn by the seed: the control of "last2" of equal size."""
    blocks = range(config.BLOCKS[arm.model] - 2)
    drawn = sorted(random.Random(f"{setting.seed}/{OTHER_BLOCKS}").sample(blocks, 2))
    return [f"block.{k}" for k in drawn]


def durations() -> list[dict]:
    """Stored first-epoch gradients and fresh ones, with a close look after every application."""
    stop = {"stop": config.DURATION_DAMAGE}
    return [
        path("first_epoch", "first_epoch", config.DURATION_STEPS, **stop),
        path("recomputed", "gradient_ascent", config.DURATION_STEPS, **stop),
    ]
