"""Folders that are built once, whole or not at all."""

import pytest

from unlearnkit.errors import ModelError
from unlearnkit.models import building


def test_build_that_fails_leaves_nothing_and_the_next_succeeds(empty_cache):
    def fail(folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        building.built_once("x", fail)
    assert [path.name for path in (empty_cache / "models").iterdir()] == ["x.lock"]
    folder = building.built_once("x", lambda folder: (folder / "whole").write_text("whole"))
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert building.built_once("x", fail) == folder


def test_another_recipe_builds_anew_and_the_old_folder_stays_until_then(empty_cache):
    def write(text):
        return lambda folder: (folder / "weights").write_text(text)

    def fail(folder):
        raise ModelError("no")

    folder = building.built_once("x", write("first"))
    assert building.built_once("x", fail) == folder  # without a recipe any folder will do
    with pytest.raises(ModelError):
        building.built_once("x", fail, "a")  # of no known recipe
    assert (folder / "weights").read_text() == "first"
    for recipe in ("a", "b"):
        assert building.built_once("x", write(recipe), recipe) == folder
        assert building.built_once("x", fail, recipe) == folder
        assert (folder / "weights").read_text() == recipe
    assert sorted(path.name for path in folder.parent.iterdir()) == ["x", "x.lock"]


def test_full_disk_while_building(empty_cache):
    def no_room(folder):
        with open("/dev/full", "w") as full:
            full.write("x" * 100_000)

    with pytest.raises(ModelError, match="disk is full"):
        building.built_once("x", no_room)
