"""The project's notebooks as sources; `make check` executes them."""

import ast
import statistics

import pytest

from unlearnkit.publishing import notebooks
from unlearnkit.study.profiles import PROFILES

NAMES = sorted(path.stem for path in notebooks.SOURCES.glob("*.ipynb"))
WORDS_A_LINE = 6, 14  # of prose, for each line of code
MEDIAN_LINES, MOST_LINES = 6, 25  # of a code cell
pytestmark = pytest.mark.parametrize("name", NAMES)


def sources(name, kind):
    cells = notebooks.source(name)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def test_one_title_and_linear_headings(name):
    prose = [line for text in sources(name, "markdown") for line in text.splitlines()]
    assert sum(line.startswith("# ") for line in prose) == 1
    assert prose[0].startswith("# ")
    assert any(line.startswith("## ") for line in prose)


def test_parameters_are_annotated_commented_and_at_most_ten(name):
    cells = notebooks.source(name)["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    text = "".join(tagged[0]["source"])
    assert text.startswith('run: str = "published"')
    assert all(isinstance(node, ast.AnnAssign) for node in ast.parse(text).body)
    assert all("  # " in line for line in text.splitlines() if line and not line.startswith((" ", "#", "]")))
    assert 1 <= len(notebooks.parameters(name)) <= 10


def test_parameters_that_profiles_set_have_their_type(name):
    declared = notebooks.parameters(name)
    for values in PROFILES.values():
        for key in declared.keys() & values.keys():
            assert type(values[key]) is type(declared[key]), key


def test_prose_comes_before_code(name):
    words = sum(len(text.split()) for text in sources(name, "markdown"))
    code = sum(len(lines(text)) for text in sources(name, "code"))
    least, most = WORDS_A_LINE
    assert least <= words / code <= most


def test_cells_are_short_and_the_last_one_stamps(name):
    code = sources(name, "code")
    assert statistics.median(len(lines(text)) for text in code) <= MEDIAN_LINES
    assert max(len(lines(text)) for text in code) <= MOST_LINES
    assert "stamp(" in code[-1]


def test_code_parses_and_uses_the_package(name):
    code = "\n".join(sources(name, "code"))
    assert [
        n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ImportFrom) and "unlearnkit" in n.module
    ]


def test_cells_have_identities_and_no_injected_parameters(name):
    cells = notebooks.source(name)["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert not any("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells)


def test_warnings_are_shown(name):
    """What `unless` gives is seen only as a cell's last expression."""
    for text in sources(name, "code"):
        *before, _ = ast.parse(text).body
        assert not [n for n in before if isinstance(n, ast.Expr) and "unless(" in ast.unparse(n)]


def test_code_is_folded_on_the_page(name):
    """The report is prose first: a reader opens the code of a figure or table by a click."""
    folded = {"hide-input", "remove-input", "remove-output"}
    code = [cell for cell in notebooks.source(name)["cells"] if cell["cell_type"] == "code"]
    assert not [cell["id"] for cell in code if not folded & set(cell["metadata"].get("tags", []))]
