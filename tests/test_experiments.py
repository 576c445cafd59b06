"""Cells, readings and the plan: caching by content, matched damage, and what a profile runs."""

import json

import pandas as pd
import pytest

from unlearnkit import profiles, study
from unlearnkit.errors import ConfigError, RequestError
from unlearnkit.experiments import cells
from unlearnkit.experiments.cells import Cell
from unlearnkit.experiments.readings import at, crossing, curve, damages, start
from unlearnkit.study import grid, plan


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path))
    return tmp_path


@pytest.fixture
def counted(runs, monkeypatch):
    """A cell whose work is counted instead of done."""
    calls = []

    def work(cell):
        calls.append(cell.config)
        return pd.DataFrame({"metric": ["nll"], "value": [1.0]})

    monkeypatch.setattr("unlearnkit.experiments.train.train", work)
    return calls


def cell(**config):
    return Cell("train", "train", {"seed": 0, **config}, "a cell", 1.0)


def test_a_cell_runs_once_and_says_what_it_cost(counted):
    one = cell()
    one.run()
    one.run()
    assert len(counted) == 1
    assert one.done()
    assert one.cost()["seconds"] >= 0
    assert one.cost()["peak_bytes"] > 1e6
    assert pd.read_csv(one.observations)["value"].tolist() == [1.0]


def test_an_unfinished_cell_runs_again(counted):
    one = cell()
    one.folder.mkdir(parents=True)
    one.observations.write_text("half a li")
    assert not one.done()
    one.run()
    assert len(counted) == 1
    assert pd.read_csv(one.observations)["value"].tolist() == [1.0]


def test_the_key_follows_configuration_needs_and_code(counted, monkeypatch):
    base = cell()
    key = base.key
    assert key == cell().key
    assert key != cell(seed=1).key
    needing = Cell("train", "train", base.config, "", 1.0, (base,))
    assert needing.key not in (key, Cell("train", "train", base.config, "", 1.0, (cell(seed=1),)).key)
    cells._sources.cache_clear()
    monkeypatch.setattr(cells.provenance, "modules", lambda *_, **__: {"unlearnkit.training": "edited"})
    assert cell().key != key
    cells._sources.cache_clear()


def test_reading_code_is_no_source_of_a_cell():
    """Editing results, tables, plots or profiles repeats no training."""
    for module in ("train", "oracles", "unlearn", "align", "validate"):
        sources = cells._sources(module)
        assert "unlearnkit.training" in sources
        assert not [
            n for n in sources if n.startswith(("unlearnkit.study", "unlearnkit.plots", "unlearnkit.prof"))
        ]


def path_frame(retain):
    """A path of one forget and one retain fact; step k has length k."""
    rows = []
    for k, (forget, kept) in enumerate(zip([1.0, 2.0, 4.0, 8.0], retain, strict=True)):
        method = "first_epoch" if k else "finetuned"
        common = {"method": method, "layers": "all", "norm": float(k), "metric": "nll"}
        rows.append({**common, "example": "f", "split": "forget", "value": forget})
        rows.append({**common, "example": "r", "split": "retain", "value": kept})
        rows.append({**common, "example": "", "split": "utility", "value": 99.0})
    return pd.DataFrame(rows)


def test_matched_damage_is_the_first_crossing_interpolated():
    path = path_frame([1.0, 0.9, 1.1, 5.0])
    norm, crossed = crossing(damages(path, "first_epoch", "all"), 0.05)
    assert crossed
    assert norm == pytest.approx(1 + 0.15 / 0.2)  # from -0.1 at length 1 to +0.1 at length 2
    assert at(curve(path, "first_epoch", "all", "forget"), norm) == pytest.approx(2 + 0.75 * 2)


def test_an_arm_that_never_crosses_is_read_at_its_end_and_marked():
    path = path_frame([1.0, 1.0, 1.0, 1.01])
    assert crossing(damages(path, "first_epoch", "all"), 0.05) == (3.0, False)


def test_a_curve_that_begins_at_the_level_crosses_it_there():
    assert crossing(pd.Series([0.0, 1.0], index=[2.0, 3.0]), 0.0) == (2.0, True)


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_profile_has_a_plan(name):
    planned = study.cells(profiles.get(name))
    assert len({c.key for c in planned}) == len(planned)
    for number, one in enumerate(planned):
        assert all(need in planned[:number] for need in one.needs)  # each after what it needs
        json.dumps(one.config)


def arm_named(name, overrides=None, profile="default"):
    found = {a.name: a for a in plan.arms(profiles.get(profile, overrides))}
    return found[name]


def test_the_default_plan_keeps_its_promises():
    arms = {a.name: a for a in plan.arms(profiles.get("default"))}
    assert len(arms["smollm2-135m, AdamW"].seeds) >= 3
    assert len(arms["gpt2-tiny-pretrained, AdamW"].seeds) >= 20
    assert {a.optimizer for a in arms.values()} == {"adamw", "sgd"}
    for arm in arms.values():
        found = grid.cells(arm)
        for stage in ("train", "oracle", "portraits", "alignment"):
            seeds = [c.config["seed"] for c in found if c.stage == stage]
            assert seeds == list(arm.seeds), (arm.name, stage)
        for setting in arm.settings:
            assert not set(setting.forget) & set(setting.control)
            assert len(setting.retain()) == plan.RETAIN_FACTS
            assert not {e.id for e in setting.retain()} & set(setting.forget)
            assert set(setting.forget) <= set(setting.fuzzy)  # and more: the neighbours that it catches
            assert len(setting.fuzzy) > len(setting.forget)


def test_a_seed_draws_the_order_and_the_target():
    arm = arm_named("gpt2-tiny-pretrained, AdamW")
    assert arm.settings[0].target == "Dave"
    assert len(arm.targets) == 5
    for setting in arm.settings:
        assert {e.person for e in setting.facts if e.split == "forget"} == {setting.target}
    recipes = [c.config["recipe"]["seed"] for c in grid.cells(arm) if c.stage == "train"]
    assert recipes == list(arm.seeds)


def test_the_factorial_is_sliced_through_the_reference_cell():
    """Every layer at first and all epochs; every epoch at all layers and the embedding; all requests."""
    arm = arm_named("gpt2-tiny-pretrained, AdamW")
    cells_of = [c for c in grid.cells(arm) if c.stage == "paths" and c.config["seed"] == 0]
    walked = {(c.config["layers"], p["label"]): p for c in cells_of for p in c.config["paths"]}
    for layers in ("all", *grid.NAMED_LAYERS):
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
    monkeypatch.setattr(grid, "PRIMARY_LAYERS", (*grid.PRIMARY_LAYERS, "first2"))
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


def test_a_path_starts_from_the_last_observations_of_what_it_scores():
    rows = [
        {"example": e, "split": s, "metric": "nll", "value": v, "epoch": epoch, "method": "finetuned"}
        for epoch, v in ((0, 5.0), (8, 1.0))
        for e, s in (("f", "forget"), ("r", "retain"), ("unscored", "retain"), ("", "utility"))
    ]
    rows.append({"metric": "training_loss", "value": 3.0, "step": 0, "method": "finetuned"})
    begin = start(pd.DataFrame(rows), {"f", "r"})
    assert begin["example"].tolist() == ["f", "r", ""]
    assert set(begin["value"]) == {1.0}
    assert set(begin["norm"]) == {0.0}
