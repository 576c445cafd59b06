"""One notebook: how it is chosen, what its parameters are, and when its executed copy is out of date."""

import json

import pytest
from imports import graph
from tiny_project import DRAW, READ, cell, notebook

from unlearnkit.errors import ConfigError
from unlearnkit.publishing import notebooks

RUNS_IT = {"collect", "inputs", "own", "plan", "profiles", "scheduler", "search"}  # no numbers are theirs


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder of notebooks; `write(name, content)` adds one."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(notebooks, "SOURCES", folder)

    def write(name, content):
        (folder / f"{name}.ipynb").write_text(json.dumps(content))

    for name in ("00_overview", "01_second", "01_second_part"):
        write(name, notebook("Title", READ, DRAW))
    write("draft", notebook("Draft"))
    return write


def test_a_notebook_is_chosen_by_name_file_or_prefix(sources):
    assert notebooks.select() == ["00_overview", "01_second", "01_second_part"]
    for wanted in ("00", "00_overview", "notebooks/00_overview.ipynb"):
        assert notebooks.select(wanted) == ["00_overview"]
    assert notebooks.select("01_second") == ["01_second"]
    for wanted in ("0", "01", "02", "draft"):
        with pytest.raises(ConfigError, match="unknown notebook"):
            notebooks.select(wanted)


def test_parameters_are_read_from_their_cell(sources):
    assert notebooks.parameters("00_overview") == {"run": "published", "scale": 1.0}


@pytest.mark.parametrize("source", ["x = compute()", "a.b = 1", "print(1)", "x: int"])
def test_parameters_are_literals(sources, source):
    sources("02_bad", {"cells": [cell("code", source, "p", tags=["parameters"])]})
    with pytest.raises(ConfigError, match="02_bad.ipynb: .* parameters cell is not"):
        notebooks.parameters("02_bad")


def test_only_values_that_differ_are_given(sources, tmp_path):
    def values(**given):
        return notebooks.step("00_overview", tmp_path, tmp_path / "data", given).values

    assert values() == values(run="published", scale=1.0, unknown=1) == {}
    assert values(run="default", unknown=1) == {"run": "default"}


@pytest.fixture
def done(sources, tmp_path):
    """Whether 00_overview with these values needs no execution; its copy was made without values."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text("{}")
    run = tmp_path / "run"

    def step(**values):
        return notebooks.step("00_overview", run, tmp_path / "data", values)

    made = notebook("Title", READ, DRAW)
    made["metadata"]["unlearnkit"] = {"inputs": step().inputs()}
    assert not step().done()
    step().executed.parent.mkdir(parents=True)
    step().executed.write_text(json.dumps(made))
    return lambda **values: step(**values).done()


def test_a_copy_is_made_of_cells_and_values_and_data(done, sources, tmp_path):
    assert done()
    assert done(scale=1.0)
    assert not done(scale=2.0)
    sources("00_overview", notebook("Title", READ, f"{DRAW} + 0"))
    assert not done()
    sources("00_overview", notebook("Another title", READ, DRAW))
    assert not done()
    published = notebook("Title", READ, DRAW)
    published["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    sources("00_overview", published)
    assert done()
    (tmp_path / "data/manifest.json").write_text("{ }")
    assert not done()


def test_a_copy_is_made_by_the_report_s_code_and_no_other(done, monkeypatch):
    rooms = notebooks.ROOMS
    assert {"report", "stats", "claims"} <= set(rooms)
    assert not {"study", "unlearning", "ledger", "models", "publishing"} & set(rooms)
    read = [names for module, names in graph().items() if module.startswith("unlearnkit.report")]
    study = {name.rpartition(".")[2] for name in set().union(*read) if name.startswith("unlearnkit.study.")}
    assert {f"study/{name}.py" for name in study - RUNS_IT} <= set(rooms)
    for room in rooms:
        monkeypatch.setattr(notebooks, "ROOMS", tuple(other for other in rooms if other != room))
        assert not done(), room
    monkeypatch.setattr(notebooks, "ROOMS", rooms)
    assert done()


def test_a_failure_is_to_be_tried_again(done, tmp_path):
    failed = tmp_path / "run/notebooks/00_overview.failed.ipynb"
    failed.write_text("{}")
    assert not done()
    failed.unlink()
    assert done()
