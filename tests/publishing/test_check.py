"""Checking: every edit of what is committed is named, and the rounding of another machine is not."""

import pytest
from tiny_project import DRAW, READ, Project, notebook

from unlearnkit.publishing import check


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("published") / "project").create()
    progress = "import sys\nprint('50%\\r100%', file=sys.stderr)"
    project.write("00_overview", notebook("Overview", READ, progress, "print(f'the number is {number}')"))
    project.write(
        "01_second", notebook("Second", READ, DRAW, "def stamp(run):\n    return id(run)\nstamp(data)")
    )
    project.run("reproduce", "--notebook", "00")
    project.run("publish", "--data", "default")
    return project


@pytest.fixture
def project(published, tmp_path):
    return published.copy(tmp_path / "project")


def test_what_was_just_published_agrees_but_for_rounding(project):
    project.replace("figures/tables/value.csv", "12.0", "12.1")
    project.replace("figures/value.svg", "90.5", "89.6")
    project.replace("notebooks/00_overview.ipynb", "the number is 12.0", "the number is 12.01")
    assert "are what the code makes of figures/data" in project.run("check")


def test_every_edit_is_named(project):
    project.replace("figures/tables/value.csv", "12.0", "13.0")
    project.replace("figures/value.svg", "90.5", "80.5")
    project.replace("notebooks/00_overview.ipynb", "the number is 12.0", "the figure is 12.0")
    project.replace("notebooks/01_second.ipynb", "data.value * scale)", "data.value * scale) + 5")  # stale
    project.replace("README.md", "The value is", "The number is")
    (project.root / "figures/old.png").write_bytes(b"")
    lines = project.run("check", status=2).splitlines()
    start = next(k for k, line in enumerate(lines) if "run `make publish`" in line)
    assert [line.strip() for line in lines[start + 1 :]] == [
        "figures/old.png is only committed",
        "figures/tables/value.csv: 13.0 is now 17.0",
        "figures/value.svg: 12.0 is now 17.0",
        "notebooks/00_overview.ipynb: 'the figure is' is now 'the number is'",
        "notebooks/01_second.ipynb: 12.0 is now 17.0",
        "README.md: 'The number is' is now 'The value is'",
    ]


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("x 1.00", "x 1.01", ""),
        ("x 0.001", "x 0.002", ""),
        ("x −1.00", "x -1.00", ""),
        ("x nan", "x nan", ""),
        ("x 1.0", "x 1.2", "1.0 is now 1.2"),
        ("x 1.0", "x -1.0", "1.0 is now -1.0"),
        ("x 1e-8", "x 1e8", "1e-8 is now 1e8"),
        ("same\none 1", "same\ntwo 1", "'one' is now 'two'"),
        ("x 1, y 2", "x 1, z 2", "', y' is now ', z'"),
        ("a ", "a 1 b", "'' is now 'b'"),
        ("x 1.0", "x nan", "'x' is now 'x nan'"),
    ],
)
def test_texts_differ_by_more_than_rounding(a, b, told):
    assert check.difference(a, b) == told


SVG = (
    '<!-- seed 1 --><g id="{id}" clip-path="url(#{id})"><path d="M 1.0 2.0"/>'
    '<use xlink:href="#{id}" x="{x}"/></g>'
)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"id": "m9", "x": "10.9"}, ""),
        ({"id": "m9", "x": "12.9"}, "10.0 is now 12.9"),
        ({"id": "m9", "x": "10.0", "seed": "2"}, "1 is now 2"),
        ({"id": "m9", "x": "10.0", "seed": "one"}, "'seed' is now 'seed one'"),
    ],
)
def test_figures_are_compared_by_places_and_texts(other, told):
    changed = SVG.replace("seed 1", f"seed {other.pop('seed', 1)}").format(**other)
    assert check._drawn_difference(SVG.format(id="m0", x="10.0"), changed) == told


def test_outputs_are_read_as_a_reader_does():
    def output(**data):
        return {"output_type": "display_data", "metadata": {}, "data": data}

    outputs = [
        output(**{"text/markdown": ["**one**"], "text/plain": ["<Markdown>"]}),
        output(**{"image/png": "abc", "text/plain": ["<Figure>"]}),
        output(**{"text/plain": ["3.0"]}),
        {"output_type": "stream", "name": "stdout", "text": ["four\n"]},
    ]
    content = notebook("Title", "show()", "stamp(run)")
    for cell in content["cells"][2:]:
        cell["outputs"] = outputs
    assert list(check._texts(content)) == ["**one**", "3.0", "four\n"]


def test_of_a_live_cell_the_words_count_and_not_the_numbers():
    def cells(said, *tags):
        output = {"output_type": "stream", "text": said}
        cell = {"cell_type": "code", "source": "", "outputs": [output], "metadata": {"tags": list(tags)}}
        return list(check._texts({"cells": [cell]}))

    once, later, other = "1.25 nats in 50 s", "-3e2 nats in 2 min", "1.25 nats in 50 steps"
    assert cells(once, "live") == cells(later, "live") != cells(other, "live")
    assert cells(once) == [once] != cells(later)
