"""Plan and grid: arms, seeds, whom they forget, and which cells that makes."""

import json

import pytest

from unlearnkit import study
from unlearnkit.errors import ConfigError, RequestError
from unlearnkit.study import config, grid, plan, profiles

TINY_ARM = "gpt2-tiny-pretrained, AdamW"


def arm_named(name, overrides=None, profile="default"):
    return next(a for a in plan.arms(profiles.get(profile, overrides)) if a.name == name)


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_profile_has_a_plan(name):
    planned = study.cells_of(profiles.get(name))
    assert len({c.key for c in planned}) == len(planned)
    assert len({c.title for c in planned}) == len(planned)
    before = set()
    for one in planned:
        assert {need.key for need in one.needs} <= before  # each after what it needs
        before.add(one.key)
        json.dumps(one.config)


def test_the_default_plan_keeps_its_promises():
    arms = {a.name: a for a in plan.arms(profiles.get("default"))}
    assert len(arms["smollm2-135m, AdamW"].seeds) >= 3
    assert len(arms[TINY_ARM].seeds) >= 20
    assert {a.optimizer for a in arms.values()} == {"adamw", "sgd"}
    for arm in arms.values():
        found = grid.cells(arm)
        for stage in ("train", "oracle", "portraits", "alignment"):
            seeds = [c.seed for c in found if c.stage == stage]
            assert seeds == list(arm.seeds), (arm.name, stage)
        for setting in arm.settings:
            assert not set(setting.forget) & set(setting.control)
            assert len(setting.retain()) == config.RETAIN_FACTS
            assert not {e.id for e in setting.retain()} & set(setting.forget)
            assert set(setting.forget) < set(setting.fuzzy)  # and more: the neighbours that it catches


def test_a_seed_draws_the_order_and_the_target():
    arm = arm_named(TINY_ARM)
    assert arm.settings[0].target == "Dave"
    assert len(arm.targets) == 5
    for setting in arm.settings:
        assert {e.person for e in setting.facts if e.split == "forget"} == {setting.target}
    recipes = [c.config["recipe"]["seed"] for c in grid.cells(arm) if c.stage == "train"]
    assert recipes == list(arm.seeds)


def test_the_factorial_is_sliced_through_the_reference_cell():
    """Every layer at first and all epochs; every epoch at all layers and the embedding; all requests."""
    arm = arm_named(TINY_ARM)
    cells = [c for c in grid.cells(arm) if c.stage == "path" and c.seed == 0]
    walked = {(c.config["layers"], p["label"]): p for c in cells for p in c.config["paths"]}
    assert len(walked) == len(cells)  # one path, one cell
    for layers in ("all", *config.NAMED_LAYERS):
        assert {(layers, "first_epoch"), (layers, "all_epochs")} <= set(walked)
    for block in range(12):
        assert (f"block.{block}", "first_epoch") in walked
    for epoch in range(2, arm.recipe["epochs"] + 1):
        assert {("all", f"epoch_{epoch}"), ("embedding", f"epoch_{epoch}")} <= set(walked)
    assert {("all", m) for m in ("fuzzy", "iterative", "iterative_reversed", "recomputed")} <= set(walked)
    for layers in {name for name, _ in walked}:  # the two controls stand in every comparison
        assert {(layers, "wrong_person"), (layers, "random_direction")} <= set(walked)
    assert len(walked["all", "first_epoch"]["steps"]) == 7


def test_a_new_seed_or_layer_runs_only_what_is_new(monkeypatch):
    def keys(**overrides):
        return {c.key for a in plan.arms(profiles.get("quick", overrides)) for c in grid.cells(a)}

    before = keys()
    assert before < keys(seeds_adamw=3)
    monkeypatch.setattr(config, "PRIMARY_LAYERS", (*config.PRIMARY_LAYERS, "first2"))
    assert before < keys()


def test_the_request_decides_the_split():
    """Somebody else's request, or a user's data, is read by its own forget set, in every seed."""
    arm = arm_named("smollm2-135m, AdamW", {"forget": "Rosa"})
    assert arm.targets == ["Rosa"]
    facts = arm.settings[-1].facts
    assert {e.id for e in facts if e.split == "forget"} == set(arm.settings[-1].forget)
    assert {e.split for e in facts if e.person == "Dave"} == {"retain"}
    assert len(plan.arms(profiles.get("default", {"forget": "Rosa"}))) == 1  # no companion arms


def test_bad_plans_are_refused():
    with pytest.raises(ConfigError, match="seeds_adamw"):
        plan.arms(profiles.get("quick", {"seeds_adamw": 0, "seeds_sgd": 0}))
    with pytest.raises(RequestError, match="Nobody"):
        plan.arms(profiles.get("quick", {"forget": "Nobody"}))
