"""Variants of the study: small arms beside its own, each of which asks one further question of a tiny model.

requests  what a request costs that misses some of the target's facts, or catches others' (claim C5)
stages    whether unlearning depends on when the target was learnt: first, last, or throughout
planted   whether a rule that chooses layers finds the only ones that learnt the target
sequence  what is left of each person when one after another is forgotten (`study.sequence`)
nudged    how far the same seed's numbers lie apart where every weight begins one rounding off: what another
          machine does, which adds up in another order
coins, orders of world 0, ...  audits, and many models of one world (`study.verified`)
long passages, ...  other data than a world's facts (`study.diverse`)

Their arms are no arms of the report's main chapters (`Run.variants`). Imports no torch.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from unlearnkit import data, requests
from unlearnkit.data import Example
from unlearnkit.study import config, diverse, plan, sequence, verified
from unlearnkit.study.cells import Cell
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm, Setting
from unlearnkit.study.profiles import Profile, is_built_in
from unlearnkit.study.walks import path, paths_at_all

REQUESTS, PLANTED, NUDGED = "requests", "planted layers", config.NUDGED
ORDERS = {"first": "target learnt first", "spread": "target learnt throughout", "last": "target learnt last"}


def arms(profile: Profile) -> list[Arm]:
    """The arms of the variants that have seeds; none beside a user's own data, request or model."""
    if not is_built_in(profile):
        return []
    own, staged = plan.recipe(config.TINY, "adamw"), config.STAGED
    wanted = [(REQUESTS, own, profile["seeds_requests"], _aliased)]
    wanted += [
        (name, own | staged, profile["seeds_stages"], lambda seed, order=order: _staged(seed, order))
        for order, name in ORDERS.items()
    ]
    wanted.append((sequence.SEQUENCE, own, profile["seeds_sequence"], sequence.setting))
    wanted.append((PLANTED, own | config.TAUGHT, profile["seeds_planted"], _planted))
    place = plan.device(profile)
    found = [
        Arm(config.TINY, "adamw", recipe, tuple(map(setting, range(seeds))), False, variant, place)
        for variant, recipe, seeds, setting in wanted
        if seeds
    ]
    return found + _nudged(profile) + verified.arms(profile) + diverse.arms(profile)


def _nudged(profile: Profile) -> list[Arm]:
    """The first seeds of the profile's model and of gpt2-tiny, begun one rounding off."""
    seeds = profile["seeds_nudged"]
    counts = {profile["model"]: min(seeds, config.NUDGED_OF_MAIN), config.TINY: seeds}
    recipe, place = partial(plan.recipe, optimizer="adamw"), plan.device(profile)
    return [
        Arm(model, "adamw", recipe(model), tuple(map(plan.built_in, range(n))), False, NUDGED, place)
        for model, n in counts.items()
        if n
    ]


def cells(profile: Profile) -> list[Cell]:
    """Every cell of the variants, each after those it needs."""
    make = {
        REQUESTS: _cells_of_requests,
        PLANTED: _cells_of_planted,
        NUDGED: _cells_of_nudged,
        sequence.SEQUENCE: sequence.cells,
        **{arm.variant: verified.cells_beside for arm in verified.arms(profile)},
        **dict.fromkeys(diverse.kinds(), diverse.cells),
    }
    return [
        cell
        for arm in arms(profile)
        for setting in arm.settings
        for cell in make.get(arm.variant, _cells_of_stages)(arm, setting)
    ]


# -- requests ---------------------------------------------------------------------------------------------


def _aliased(seed: int) -> Setting:
    """A seed's world with some of the target's facts under an alias, and the requests for the target."""
    one = plan.built_in(seed)
    facts, alias = data.under_alias(one.facts, seed, config.UNDER_ALIAS)
    return replace(one, facts=tuple(facts), requests=tuple(_asked(facts, one.target, alias)))


def _asked(facts: list[Example], name: str, alias: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(label, ids) of each request, in the order of the data; `config.REQUESTS` says how it asks."""
    truth = requests.by_person(facts, name)
    for label, (scorer, threshold, names) in config.REQUESTS.items():
        if scorer:
            asked = {"name": [name], "alias": [name, alias]}[names]
            found = {i for query in asked for i in requests.fuzzy(facts, query, threshold, scorer)}
        else:
            found = {e.id for e in facts if e.id in truth and (names == "alias" or name in e.prompt)}
        yield label, tuple(e.id for e in facts if e.id in found)


def _cells_of_requests(arm: Arm, setting: Setting) -> list[Cell]:
    seed = Seed(arm, setting)
    walked = [
        path(label, "first_epoch", config.VARIANT_STEPS, ids=list(ids)) for label, ids in setting.requests
    ]
    walked.append(path("iterative", "iterative", config.ROUND_STEPS))
    return [seed.train, *seed.oracles, *(seed.walk("all", spec) for spec in walked)]


# -- stages -----------------------------------------------------------------------------------------------


def _staged(seed: int, order: str) -> Setting:
    """A seed's world, with the order in which the target and the others are learnt."""
    one = plan.built_in(seed)
    return replace(one, recipe=(("order", order), ("staged", list(one.forget))))


def _cells_of_stages(arm: Arm, setting: Setting) -> list[Cell]:
    seed = Seed(arm, setting)
    walked = [
        path("first_epoch", "first_epoch", config.VARIANT_STEPS),
        path("all_epochs", "all_epochs", config.VARIANT_STEPS),
        path("adam_replay", "adam_replay", config.ADAM_LAYER_STEPS),
        path("recomputed", "gradient_ascent", config.REPEATED_STEPS),
    ]
    return [seed.train, *seed.oracles, *(seed.walk("all", spec) for spec in walked)]


# -- planted layers ---------------------------------------------------------------------------------------


def candidates() -> dict[str, tuple[str, ...]]:
    """The layers that the target can be planted in, by their label: the embedding, pairs of blocks."""
    pairs = [(k, k + 1) for k in range(0, config.BLOCKS[config.TINY], 2)]
    return {"embedding": ("embedding",)} | {
        f"blocks {a} and {b}": (f"block.{a}", f"block.{b}") for a, b in pairs
    }


def planted_in(seed: int) -> str:
    """Where a seed plants the target: each candidate once in every so many seeds, in an order drawn anew."""
    names = list(candidates())
    turn, place = divmod(seed, len(names))
    return random.Random(f"{turn}/planted").sample(names, len(names))[place]


def _planted(seed: int) -> Setting:
    return replace(plan.built_in(seed), recipe=(("layers", list(candidates()[planted_in(seed)])),))


def _cells_of_planted(arm: Arm, setting: Setting) -> list[Cell]:
    """A first training without the target, then one that moves the planted layers alone."""
    first = Seed(arm, setting)
    given = first.base | {"recipe": plan.recipe(arm.model, "adamw") | {"seed": setting.seed}, "record": []}
    base = first.cell("base", "train", given | {"forget": list(setting.forget)}, first.seconds[0])
    seed = replace(first, begins=(base,))
    layers = {"all": ("all",)} | candidates()
    walked = [
        seed.walk(name, path("first_epoch", "first_epoch", config.PLANTED_STEPS, parts=list(parts)))
        for name, parts in layers.items()
    ]
    given = seed.groups | {"candidates": {name: list(parts) for name, parts in candidates().items()}}
    scores = seed.cell("layer_scores", "planted", given, 5 * first.seconds[1], (seed.train, base))
    return [base, seed.train, *seed.oracles, *walked, scores]


# -- nudged -----------------------------------------------------------------------------------------------


def _cells_of_nudged(arm: Arm, setting: Setting) -> list[Cell]:
    """The paths of the study that chapter 00 reads."""
    seed = Seed(arm, setting)
    walked = [spec for spec in paths_at_all(arm, setting) if spec["label"] in config.RERUN]
    return [seed.train, *seed.oracles, *(seed.walk("all", spec) for spec in walked)]
