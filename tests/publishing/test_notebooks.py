"""Stale or not: what counts as a change of the code behind a notebook, and what does not."""

import json
import sys

import pytest
from tiny_project import DRAW, READ, cell, notebook
from unlearnkit.profiles import Profile, get

from unlearnkit import provenance
from unlearnkit.errors import ConfigError

MODULES = {
    "__init__": "",
    "a": "from . import b\nfrom .deep import inner\ndef f():\n    import tiny.late\n",
    "b": '"""Doc."""\nimport os  # why\nX = 1\n',
    "late": "Y = 2",
    "plots": "import tiny.only_for_plots",
    "only_for_plots": "",
    "unused": "",
    "deep/__init__": "from ..c import Z",
    "deep/inner": "from .other import W",
    "deep/other": "W = 1",
    "c": "Z = 3",
}


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "tiny"
    for name, text in MODULES.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def executed(tmp_path):
    """A notebook with the record that execution writes; `edit(old, new)` changes its source."""
    path = tmp_path / "01_second.ipynb"
    content = notebook("Second", READ, DRAW)
    profile = get("quick")
    values = profile.values_for("01_second", provenance.declared_parameters(content))
    content["metadata"]["unlearnkit"] = provenance.describe(content, profile, values)
    path.write_text(json.dumps(content))
    return path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_syntax_ignores_comments_docstrings_and_layout():
    one = 'def f(x):\n    """Doc."""\n    return [x,  # why\n            None]\n'
    same = "def f(x):\n\n    return [x, None]"
    assert provenance.syntax(one) == provenance.syntax(same)
    assert provenance.syntax('"""Doc."""\nx = "text"') == provenance.syntax('x = "text"')


@pytest.mark.parametrize("other", ["x = 2", "x = '1'", "x = 1.0", "x = None", "x: int = 1", "y = 1"])
def test_syntax_sees_every_change_of_code(other):
    assert provenance.syntax("x = 1") != provenance.syntax(other)


def test_modules_are_followed_through_imports_and_presentation_is_not(package):
    found = provenance.modules(["%matplotlib inline\nfrom tiny import a, plots"], package, without=("plots",))
    inner = ["tiny", "tiny.a", "tiny.b", "tiny.c", "tiny.deep"]
    inner += ["tiny.deep.inner", "tiny.deep.other", "tiny.late"]
    assert list(found) == inner
    with_plots = provenance.modules(["import tiny.a, tiny.plots"], package)
    assert list(with_plots) == sorted([*inner, "tiny.plots", "tiny.only_for_plots"])


def test_module_hash_changes_with_code_only(package):
    def hashed():
        return provenance.modules(["import tiny.b"], package)["tiny.b"]

    before = hashed()
    edit(package / "b.py", "Doc.", "Other.")
    edit(package / "b.py", "# why", "# because")
    assert hashed() == before
    edit(package / "b.py", "X = 1", "X = 2")
    assert hashed() != before


def test_stale_after_code_or_parameters_change(executed):
    assert provenance.is_stale(executed) == ""
    edit(executed, "* scale", "* scale * 2")
    assert provenance.is_stale(executed) == "its code cells changed"
    edit(executed, "* scale * 2", "* scale")
    edit(executed, "scale: float = 1.0", "scale: float = 2.0")
    assert provenance.is_stale(executed) == "its code cells changed; parameter scale changed"


def test_stale_after_the_profile_changed(executed, monkeypatch):
    monkeypatch.setitem(get("quick").parameters, "model", "another")
    assert provenance.is_stale(executed) == "parameter model changed"


def test_stale_after_a_module_changed(executed, monkeypatch):
    monkeypatch.setattr(provenance, "modules", lambda *_, **__: {"unlearnkit.metrics": "0"})
    assert "module unlearnkit.metrics is new" in provenance.is_stale(executed)


def test_not_stale_after_prose_comments_or_outputs_change(executed):
    edit(executed, "Prose.", "Other prose.")
    edit(executed, "# factor", "# what numbers are multiplied with")
    content = json.loads(executed.read_text())
    content["cells"][-1]["outputs"] = [{"name": "stdout", "output_type": "stream", "text": "edited"}]
    content["cells"].insert(2, cell("code", "scale = 5", "injected", tags=["injected-parameters"]))
    executed.write_text(json.dumps(content))
    assert provenance.is_stale(executed) == ""


def test_never_executed_and_lost_runs_are_stale(executed):
    edit(executed, '"profile": "quick"', '"profile": "quick-00000000"')
    assert "no longer known" in provenance.is_stale(executed)
    executed.write_text(json.dumps(notebook("Second")))
    assert "never executed" in provenance.is_stale(executed)


@pytest.mark.parametrize("source", ["x = compute()", "a.b = 1", "print(1)", "x: int"])
def test_parameters_are_literals(source):
    content = {"cells": [cell("code", source, "p", tags=["parameters"])]}
    with pytest.raises(ConfigError, match="parameters cell is not"):
        provenance.declared_parameters(content, "x.ipynb")


def test_stamp_shows_versions_device_time_and_hash(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda table: shown.append(table.data))
    monkeypatch.setenv(provenance.STAMP, "0123456789abcdef")
    provenance.stamp()
    assert "0123456789abcdef" in shown[0]
    assert f"Python {sys.version.split()[0]}" in shown[0]
    assert "cores" in shown[0]
    assert "under" in shown[0]


def test_values_of_the_study_count_even_where_no_notebook_declares_them():
    content = notebook("Second", READ)
    one, two = (Profile("tiny", "", {"seeds": seeds}) for seeds in (1, 2))
    assert provenance.describe(content, one, {})["hash"] != provenance.describe(content, two, {})["hash"]
