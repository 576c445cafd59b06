"""Cells, readings and the plan: caching by content, matched damage, and what a profile runs."""

import json

import pandas as pd
import pytest

from unlearnkit import profiles, study
from unlearnkit.errors import ConfigError, RequestError
from unlearnkit.experiments import cells
from unlearnkit.experiments.cells import Cell
from unlearnkit.experiments.readings import at, crossing, curve
from unlearnkit.study import plan


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
    for module in ("train", "unlearn"):
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
    norm, crossed = crossing(path, "first_epoch", "all", 0.05)
    assert crossed
    assert norm == pytest.approx(1 + 0.15 / 0.2)  # from -0.1 at length 1 to +0.1 at length 2
    assert at(curve(path, "first_epoch", "all", "forget"), norm) == pytest.approx(2 + 0.75 * 2)


def test_an_arm_that_never_crosses_is_read_at_its_end_and_marked():
    assert crossing(path_frame([1.0, 1.0, 1.0, 1.01]), "first_epoch", "all", 0.05) == (3.0, False)


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_profile_has_a_plan(name):
    planned = study.cells(profiles.get(name))
    assert len({c.key for c in planned}) == len(planned)
    for number, one in enumerate(planned):
        assert all(need in planned[:number] for need in one.needs)  # each after what it needs
        json.dumps(one.config)


def test_the_default_plan_keeps_its_promises():
    (arm,) = plan.arms(profiles.get("default"))
    assert len(arm.seeds) >= 3
    assert len([c for c in plan.cells(arm) if c.stage == "oracle"]) == len(arm.seeds)
    assert not set(arm.forget) & set(arm.control)
    assert len(arm.retain()) == plan.RETAIN_FACTS
    assert not {e.id for e in arm.retain()} & set(arm.forget)


def test_the_request_decides_the_split():
    """Somebody else's request, or a user's data, is read by its own forget set."""
    (arm,) = plan.arms(profiles.get("default", {"forget": "Rosa"}))
    assert {e.id for e in arm.facts if e.split == "forget"} == set(arm.forget)
    assert {e.person for e in arm.facts if e.split == "forget"} == {"Rosa"}
    assert {e.split for e in arm.facts if e.person == "Dave"} == {"retain"}


def test_bad_plans_are_refused():
    with pytest.raises(ConfigError, match="seeds_adamw"):
        plan.arms(profiles.get("quick", {"seeds_adamw": 0, "seeds_sgd": 0}))
    with pytest.raises(RequestError, match="Nobody"):
        plan.arms(profiles.get("quick", {"forget": "Nobody"}))
