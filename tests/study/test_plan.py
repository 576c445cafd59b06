"""Plan and grid: arms, seeds, whom they forget, and which cells that makes."""

import dataclasses
import json

import pytest

from unlearnkit import data, models, study
from unlearnkit.errors import ConfigError, RequestError
from unlearnkit.layers import known_names, tags
from unlearnkit.study import config, grid, plan, profiles, walks

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
    assert len(arms[TINY_ARM].seeds) >= 8  # verdict tables show arms with so many
    assert {a.optimizer for a in arms.values()} == {"adamw", "sgd"}
    for arm in arms.values():
        found = grid.cells(arm)
        for stage in ("train", "oracle", "portraits", "alignment"):
            count = config.ORACLES.get(arm.model, 1) if stage == "oracle" else 1
            seeds = [c.seed for c in found if c.stage == stage]
            assert seeds == [s for s in arm.seeds for _ in range(count)], (arm.name, stage)
        for setting in arm.settings:
            assert not set(setting.forget) & set(setting.control)
            assert len(setting.retain()) == config.RETAIN_FACTS
            assert not {e.id for e in setting.retain()} & set(setting.forget)
            assert set(setting.forget) < set(setting.fuzzy)  # and more: the neighbours that it catches


def test_the_full_plan_has_as_many_seeds_of_every_tiny_architecture():
    full = {a.name: a for a in plan.arms(profiles.get("full"))}
    for model in (config.TINY, config.NEOX, config.LLAMA):
        arm = full[f"{model}, AdamW"]
        assert len(arm.seeds) == 24
        assert arm.recipe["lr"] != plan.recipe("some/other-model", "adamw")["lr"]
    for name in ("quick", "default"):
        assert not {config.NEOX, config.LLAMA} & {a.model for a in plan.arms(profiles.get(name))}


def test_a_model_has_its_family_s_recipe():
    tiny = plan.recipe("gpt2-tiny", "adamw")
    for made in ("-pretrained", "-pretrained-quick", "-pretrained-untied"):
        assert plan.recipe(f"gpt2-tiny{made}", "adamw") == tiny
    others = {plan.family(model) for model in (*models.REGISTRY, "some/other-model")}
    assert others == {*config.TINY_FAMILIES, "smollm2-135m", "gpt2", "some/other-model"}
    given = {"optimizer": "sgd", "loss_on": "answer", **config.RECIPES["", "sgd"]}
    assert plan.recipe("some/other-model", "sgd") == given


def test_no_optimizer_has_no_recipe():
    with pytest.raises(ConfigError, match="optimizer=None: use adamw or sgd"):
        plan.recipe("gpt2-tiny", None)


@pytest.mark.smollm2
@pytest.mark.parametrize("name", ["gpt2-tiny", "neox-tiny", "llama-tiny"])
def test_the_map_has_every_layer_of_a_tiny_model_and_no_other(name):
    model, _ = models.load(name)
    known = set(known_names(tags(model)))
    (arm,) = plan.arms(profiles.get("quick", {"model": f"{name}-pretrained", "whole_map": True}))
    assert {*plan.layers_of(arm, arm.settings[0]), "all"} == known
    later = dataclasses.replace(arm, whole_map=False)
    assert set(plan.layers_of(later, arm.settings[0])) == {*config.PRIMARY_LAYERS, *config.SPLIT_LAYERS}


def test_a_seed_draws_the_order_and_the_world():
    arm = arm_named(TINY_ARM)
    assert len(arm.targets) == len(set(arm.world_of.values())) == len(arm.seeds)
    for setting in arm.settings:
        assert {e.person for e in setting.facts if e.split == "forget"} == {setting.target}
        assert list(setting.facts) == data.world(setting.seed)
        assert set(setting.holdout) < set(data.holdout(setting.seed))
        assert {e.attribute for e in setting.holdout} == {e.attribute for e in setting.facts}
    other = arm_named("gpt2-tiny-pretrained, SGD")
    assert [s.facts for s in other.settings] == [s.facts for s in arm.settings[: len(other.seeds)]]
    recipes = [c.config["recipe"]["seed"] for c in grid.cells(arm) if c.stage == "train"]
    assert recipes == list(arm.seeds)


def test_a_second_oracle_differs_in_its_order_alone_and_in_no_order_of_a_training():
    arm = arm_named("smollm2-135m, AdamW")
    made = [c for c in grid.cells(arm) if c.stage == "oracle"]
    assert len(made) == 2 * len(arm.seeds)
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert first.config["recipe"]["seed"] == first.seed == second.seed
        assert second.config["recipe"]["seed"] >= config.MOST_SEEDS
        differ = {k for k in second.config if second.config[k] != first.config.get(k)}
        assert differ == {"order", "recipe"}
        assert second.config["recipe"] | {"seed": first.seed} == first.config["recipe"]
        assert first.needs == second.needs
        aligned = next(c for c in grid.cells(arm) if c.stage == "alignment" and c.seed == first.seed)
        assert aligned.needs[1].key == first.key  # the way that the fine-tuning's own order goes


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
    for layers in {name for name, _ in walked} - {walks.OTHER_BLOCKS}:  # two controls in every comparison
        assert {(layers, "wrong_person"), (layers, "random_direction")} <= set(walked)
    assert len(walked["all", "first_epoch"]["steps"]) == 7


@pytest.mark.parametrize("optimizer", config.OPTIMIZERS)
def test_adamw_s_updates_are_walked_where_it_trained(optimizer):
    """In every seed, on all layers and all together on the embedding, farther than gradients go."""
    found = {a.optimizer: a for a in plan.arms(profiles.get("default")) if a.model == config.TINY}
    arm = found[optimizer]
    cells = [c for c in grid.cells(arm) if c.stage == "path"]
    walked = [
        (c.seed, c.config["layers"], spec["label"], spec["options"]["epochs"], max(spec["steps"]))
        for c in cells
        for spec in c.config["paths"]
        if spec["method"] == "adam_replay"
    ]
    each = [("all", "adam_first", [1], 4 * config.STEPS[-1])]
    each += [("all", "adam_replay", "all", 2 * config.STEPS[-1])]
    each += [("embedding", "adam_replay", "all", 4 * config.LAYER_STEPS[-1])]
    where = [(s, *told) for s in (arm.seeds if optimizer == "adamw" else ()) for told in each]
    assert sorted(walked, key=str) == sorted(where, key=str)


def test_after_plain_sgd_paths_go_on_by_their_last_leg():
    arms = {a.optimizer: a for a in plan.arms(profiles.get("default")) if a.model == config.TINY}
    walked = {}
    for optimizer, arm in arms.items():
        cells = [c for c in grid.cells(arm) if c.stage == "path" and c.seed == arm.seeds[-1]]
        walked[optimizer] = {
            (c.config["layers"], p["label"]): p["steps"] for c in cells for p in c.config["paths"]
        }
    plain, adam = walked["sgd"], walked["adamw"]
    assert plain["all", "first_epoch"] == [*adam["all", "first_epoch"], 0.24, 0.32]
    assert plain["all", "recomputed"] == [*adam["all", "recomputed"], 0.1, 0.12, 0.14, 0.16]
    assert plain["all", "wrong_person"] == [*adam["all", "wrong_person"], 0.14, 0.2, 0.26, 0.32]
    far = {where for where in plain if where in adam and plain[where] != adam[where]}
    assert {where for where in plain if where[1] in ("fuzzy", "iterative", "first_epoch")} <= far
    assert not {where for where in far if where[1] == "random_direction"}


def test_the_last_blocks_have_controls_of_their_size_and_length():
    arm = arm_named(TINY_ARM)
    for seed in arm.seeds:
        cells = [c for c in grid.cells(arm) if c.stage == "path" and c.seed == seed]
        walked = {(c.config["layers"], p["label"]): p for c in cells for p in c.config["paths"]}
        blocks, coordinates = walked[walks.OTHER_BLOCKS, "first_epoch"], walked["all", "random_last2"]
        assert len(set(blocks["parts"])) == 2
        assert not {"block.10", "block.11"} & set(blocks["parts"])
        assert coordinates["options"] == {"like": "last2"}
        assert blocks["steps"] == coordinates["steps"] == list(config.LAST_STEPS)
    drawn = {tuple(walks.other_blocks(arm, s)) for s in arm.settings}
    assert len(drawn) > len(arm.seeds) // 2


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
    assert set(arm.world_of.values()) == {0}
    facts = arm.settings[-1].facts
    assert {e.id for e in facts if e.split == "forget"} == set(arm.settings[-1].forget)
    assert {e.split for e in facts if e.person == "Dave"} == {"retain"}
    assert len(plan.arms(profiles.get("default", {"forget": "Rosa"}))) == 1  # no companion arms


def test_bad_plans_are_refused():
    with pytest.raises(ConfigError, match="seeds_adamw"):
        plan.arms(profiles.get("quick", {"seeds_adamw": 0, "seeds_sgd": 0}))
    with pytest.raises(RequestError, match="Nobody"):
        plan.arms(profiles.get("quick", {"forget": "Nobody"}))


def own(tmp_path, *persons, forget="Ada", **overrides):
    """The arms of a run whose data has a fact for each of these persons, with the ids 0, 1, ..."""
    facts = [data.Example(str(k), p, f"Fact {k} is", f"thing {k}", "retain") for k, p in enumerate(persons)]
    data.save_jsonl(facts, tmp_path / "facts.jsonl")
    given = {"data": str(tmp_path / "facts.jsonl"), "forget": forget} | overrides
    return plan.arms(profiles.get("quick", given))


@pytest.mark.parametrize(
    ("persons", "forget", "message"),
    [
        (["Ada", "Ben"], "Ada", "names 1 of 2 facts, but two or more must be left"),
        (["Ada", "Ada", "Ada"], "Ada", "names 3 of 3 facts"),
        (["Ada", "Ben", "Cora"], "Ada,Ben,Cora", "names 3 of 3 facts"),
        (["Ada", "Ada", "Ada"], "0", "all facts are about Ada, as is the request"),
        (["Ada", "Ben", "Ada"], "0,1,2", "names 3 of 3 facts"),
    ],
)
def test_facts_that_leave_nobody_to_retain_or_to_control_are_refused(tmp_path, persons, forget, message):
    with pytest.raises(RequestError, match=message):
        own(tmp_path, *persons, forget=forget)


def test_the_control_is_somebody_else_s_and_leaves_a_fact_to_retain(tmp_path):
    def control(*persons, forget):
        return own(tmp_path, *persons, forget=forget)[0].settings[0].control

    assert control("Ada", "Ada", "Ben", "Ben", forget="0") == ("2",)  # not Ada's other fact
    assert control("Ada", "Ada", "Ben", "Ben", forget="Ada") == ("2",)  # and not all that is left
    assert control("Ada", "Ada", "Ben", "Ben", "Cora", forget="Ada") == ("2", "3")
    assert control("", "", "", forget="0") == ("1",)  # without names, other facts


def test_several_persons_are_forgotten_together(tmp_path):
    (arm,) = own(tmp_path, "Ada", "Ben", "Cora", "Cora", forget="Ada,Ben")
    assert arm.settings[0].forget == ("0", "1")
    assert [e.split for e in arm.settings[0].facts] == ["forget", "forget", "retain", "retain"]


def test_twins_across_the_request_are_refused(tmp_path):
    facts = [
        data.Example(i, p, "Bees live on", "the roof", "retain") for i, p in (("a", "Ada"), ("b", "Ben"))
    ]
    facts += [data.Example(i, "Cora", f"{i} is", "a letter", "retain") for i in "cd"]
    data.save_jsonl(facts, tmp_path / "facts.jsonl")
    with pytest.raises(RequestError, match="'a' and 'b'"):
        plan.arms(profiles.get("quick", {"data": str(tmp_path / "facts.jsonl"), "forget": "Ada"}))


def test_an_own_recipe_takes_the_place_of_the_family_s(tmp_path):
    mine = {"lr": 0.5, "epochs": 4, "batch_size": 2}
    (arm,) = plan.arms(profiles.get("quick", mine))
    assert {k: arm.recipe[k] for k in mine} == mine
    assert arm.recipe["lr_schedule"] == "linear"  # the rest stays
    for cell in grid.cells(arm):
        if cell.stage in ("train", "oracle"):
            assert {k: cell.config["recipe"][k] for k in mine} == mine
    assert plan.arms(profiles.get("default", {"batch_size": 2}))[0].recipe["epochs"] == 7
    assert len(plan.arms(profiles.get("default", {"batch_size": 2}))) == 1  # no companions in an own run


def test_an_own_optimizer_is_the_only_one_and_has_seeds():
    for profile, chosen, seeds in (("quick", "sgd", 2), ("quick", "adamw", 2), ("full", "sgd", 3)):
        (arm,) = plan.arms(profiles.get(profile, {"optimizer": chosen}))
        assert (arm.optimizer, len(arm.seeds)) == (chosen, seeds)
        assert arm.recipe == plan.recipe(arm.model, chosen)
    (arm,) = plan.arms(profiles.get("quick", {"optimizer": "sgd", "lr": 0.3}))
    assert grid.rewind_cell(arm).config["recipe"]["lr"] == 0.3


def test_one_learning_rate_for_two_optimizers_is_refused():
    with pytest.raises(ConfigError, match="lr=0.1 is given to a run with both .*add optimizer=adamw"):
        plan.arms(profiles.get("full", {"lr": 0.1}))
    assert len(plan.arms(profiles.get("full", {"lr": 0.1, "optimizer": "sgd"}))) == 1


def test_a_users_hold_outs_are_not_trained_and_cannot_be_asked_for(tmp_path):
    rows = [("Ada", "retain"), ("Ben", "retain"), ("Cora", "retain"), ("Dora", config.HOLDOUT)]
    facts = [data.Example(p, p, f"{p} likes", f"thing {k}", s) for k, (p, s) in enumerate(rows)]
    data.save_jsonl(facts, tmp_path / "facts.jsonl")
    given = {"data": str(tmp_path / "facts.jsonl"), "forget": "Ada"}
    setting = plan.arms(profiles.get("quick", given))[0].settings[0]
    assert [e.id for e in setting.facts] == ["Ada", "Ben", "Cora"]
    assert [e.id for e in setting.holdout] == ["Dora"]
    with pytest.raises(RequestError, match="'Dora' is neither a person nor an id"):
        plan.arms(profiles.get("quick", given | {"forget": "Dora"}))
    with pytest.raises(RequestError, match="'Dave' is neither .*Say whom of your data to forget: FORGET="):
        plan.arms(profiles.get("quick", {"data": given["data"]}))
