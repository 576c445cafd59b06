"""The project's notebooks as sources; they are not executed here."""

import ast

import pytest

from unlearnkit import notebooks, profiles, provenance

NAMES = sorted(path.stem for path in notebooks.SOURCES.glob("*.ipynb"))
pytestmark = pytest.mark.parametrize("name", NAMES)


def sources(name, kind):
    cells = notebooks.source(name)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_one_title_and_linear_headings(name):
    lines = [line for text in sources(name, "markdown") for line in text.splitlines()]
    assert sum(line.startswith("# ") for line in lines) == 1
    assert lines[0].startswith("# ")
    assert any(line.startswith("## ") for line in lines)


def test_parameters_are_annotated_commented_and_at_most_ten(name):
    cells = notebooks.source(name)["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    text = "".join(tagged[0]["source"])
    assignments = ast.parse(text).body
    assert all(isinstance(node, ast.AnnAssign) for node in assignments)
    assert all("  # " in line for line in text.splitlines() if line and not line.startswith((" ", "#", "]")))
    assert 1 <= len(notebooks.parameters(name)) <= 10


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_every_profile_gives_each_parameter_a_value_of_its_type(name, profile):
    declared = notebooks.parameters(name)
    for key, value in profiles.get(profile).values_for(name, declared).items():
        assert type(value) is type(declared[key]), key


def test_the_default_profile_is_what_the_parameters_cell_shows(name):
    """Otherwise the published notebook would show other values than it ran with."""
    declared = notebooks.parameters(name)
    assert profiles.get("default").values_for(name, declared) == declared


def test_cells_are_short_and_the_last_one_stamps(name):
    code = sources(name, "code")
    assert max(len(text.splitlines()) for text in code) <= 25
    assert "stamp()" in code[-1]


def test_code_parses_and_uses_the_package(name):
    assert provenance.modules(provenance.code_cells(notebooks.source(name)))
    for text in sources(name, "code"):
        ast.parse(text)


def test_cells_have_identities_and_no_injected_parameters(name):
    cells = notebooks.source(name)["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert not any("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells)
