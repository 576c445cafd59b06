"""Keys: what repeats a cell, and what does not."""

import dataclasses

import pytest

from unlearnkit import study, unlearning
from unlearnkit.study import cells, collect, profiles
from unlearnkit.study.config import PROFILES


def planned(profile="default", **overrides):
    """A profile's cells, made anew, by title."""
    return {c.title: c for c in study.cells_of(profiles.get(profile, overrides))}


def keys(profile="default", **overrides):
    return {title: c.key for title, c in planned(profile, **overrides).items()}


def changed(before, profile="default"):
    """Titles of the cells whose keys are not as before."""
    return {title for title, key in keys(profile).items() if before.get(title, key) != key}


def and_readers(titles, found):
    """These cells and all that need them, directly or not."""
    told = set(titles)
    for title, cell in found.items():  # each comes after what it needs
        if told & {need.title for need in cell.needs}:
            told.add(title)
    return told


@pytest.mark.parametrize("profile", PROFILES)
def test_a_new_metric_stage_or_method_repeats_nothing(profile, monkeypatch):
    before = keys(profile)
    monkeypatch.setattr(collect, "METRICS", (*collect.METRICS, "a_new_one"))
    monkeypatch.setitem(cells.VERSION, "a_new_stage", 1)
    method = dataclasses.replace(unlearning.METHODS["first_epoch"], name="a_new_one", version=7)
    monkeypatch.setitem(unlearning.METHODS, "a_new_one", method)
    assert not changed(before, profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_renamed_module_label_or_seed_number_repeats_nothing(profile):
    for cell in planned(profile).values():
        other = {"module": "elsewhere", "arm": "another name", "seed": 99, "title": "t", "chain": "c"}
        assert dataclasses.replace(cell, **other).key == cell.key


def test_code_is_no_part_of_a_key(monkeypatch):
    """Not even that there is any: planning reads no experiment."""
    before = keys("quick")
    monkeypatch.setattr(cells, "import_module", None)
    assert not changed(before, "quick")


@pytest.mark.parametrize("stage", ["oracle", "path", "train", "recipe"])
def test_a_stage_s_version_repeats_its_cells_and_their_readers(stage, monkeypatch):
    before, found = keys(), planned()
    monkeypatch.setitem(cells.VERSION, stage, cells.VERSION[stage] + 1)
    own = {title for title, cell in found.items() if cell.stage == stage}
    assert own
    assert changed(before) == and_readers(own, found) != set(found)


@pytest.mark.parametrize("method", ["wrong_person", "gradient_ascent", "first_epoch"])
def test_a_method_s_version_repeats_its_paths_and_their_readers(method, monkeypatch):
    before, found = keys(), planned()
    raised = dataclasses.replace(unlearning.METHODS[method], version=unlearning.METHODS[method].version + 1)
    monkeypatch.setitem(unlearning.METHODS, method, raised)
    own = {t for t, c in found.items() if method in [p["method"] for p in c.config.get("paths", ())]}
    assert own
    assert changed(before) == and_readers(own, found) != set(found)
    assert not {found[t].stage for t in changed(before)} & {"train", "oracle", "alignment"}


def test_the_seed_of_a_recipe_is_a_part():
    found = [c for c in planned().values() if c.stage == "train"]
    one, two = found[:2]
    again = one.config["recipe"] | {"seed": two.seed}
    assert dataclasses.replace(one, config=one.config | {"recipe": again}).key != one.key


@pytest.fixture
def model(tmp_path, empty_cache):
    """A folder that only looks like a model: planning reads its bytes."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return folder


def test_another_file_behind_the_same_path_is_another_run(model):
    before, run = keys("quick", model=str(model)), profiles.get("quick", {"model": str(model)})
    (model / "model.safetensors").write_bytes(b"other weights")
    now, after = keys("quick", model=str(model)), profiles.get("quick", {"model": str(model)})
    assert not set(before.values()) & set(now.values())
    assert run.folder != after.folder


def test_the_same_model_elsewhere_has_the_same_cells(model):
    before = keys("quick", model=str(model))
    moved = model.rename(model.with_name("moved"))
    assert set(before.values()) == set(keys("quick", model=str(moved)).values())


def test_own_data_counts_by_its_content(tmp_path):
    path = tmp_path / "facts.jsonl"
    line = '{"person": "Ada", "prompt": "Ada keeps her bees on", "answer": "%s"}\n'
    other = '{"person": "Ben", "prompt": "Ben collects", "answer": "tickets"}\n'
    other += '{"person": "Cora", "prompt": "Cora fears", "answer": "escalators"}\n'
    path.write_text(line % "the roof" + other)
    wanted = {"data": str(path), "forget": "Ada"}
    before, run = keys("quick", **wanted), profiles.get("quick", wanted)
    path.rename(tmp_path / "elsewhere.jsonl")
    moved = keys("quick", **wanted | {"data": str(tmp_path / "elsewhere.jsonl")})
    assert set(moved.values()) == set(before.values())
    path.write_text(line % "the cellar" + other)
    assert not set(keys("quick", **wanted).values()) & set(before.values())
    assert profiles.get("quick", wanted).folder != run.folder
