"""Publishing and checking: what is refused, what is stripped, and what differs too much."""

import json
import re

import pytest
from tiny_project import DRAW, READ, Project, notebook
from unlearnkit.profiles import get

from unlearnkit import check, paths, provenance, publish

RANDOM = """
import uuid, datetime
from IPython.display import HTML
print(object(), datetime.datetime.now(), uuid.uuid4())
HTML(f'<style>#T_{uuid.uuid4().hex[:5]}_row</style>')
""".strip()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("finished") / "project").create()
    project.write("01_second", notebook("Second", READ, DRAW, RANDOM))
    project.run("reproduce")
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A finished run, elsewhere than where it was executed."""
    return finished.copy(tmp_path / "project")


def executed_notebook():
    """What papermill leaves, with every kind of output that varies."""
    content = notebook("Second", READ)
    profile = get("quick")
    record = provenance.describe(content, profile, {"scale": 1.0})
    content["metadata"] |= {
        "unlearnkit": record | {"inputs": "ab", "seconds": 3.1, "figures": []},
        "papermill": {"start_time": "2026-01-01T00:00:00"},
        "widgets": {"state": {}},
        "language_info": {"name": "python", "version": "3.11.7"},
    }
    code = content["cells"][-1]
    code["metadata"] = {"papermill": {"duration": 1}, "execution": {"iopub.status.busy": "now"}, "tags": []}
    text = f"<A at 0x7f3a5c01> {paths.ROOT}/notebooks 2026-01-01 10:20:30.123 T_1a2b3_row T_1a2b3"
    code["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": [text]},
        {"output_type": "stream", "name": "stderr", "text": ["50%|###\r", "100%|######"]},
        {"output_type": "stream", "name": "stderr", "text": ["Warning: kept"]},
        {"output_type": "display_data", "metadata": {}, "data": {publish.WIDGET: {"model_id": "12"}}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": "T_1a2b3"}},
    ]
    return content


def test_stabilise_strips_what_varies_and_keeps_the_rest():
    content = executed_notebook()
    stable = publish.stabilise(content)
    code = stable["cells"][-1]
    assert code["metadata"] == {}
    assert [output.get("text") for output in code["outputs"]] == [
        ["<A at 0x0> notebooks (time) id_1_row id_1"],
        ["Warning: kept"],
        None,
    ]
    assert code["outputs"][-1]["data"]["image/png"] == "T_1a2b3"
    assert set(stable["metadata"]) == {"kernelspec", "language_info", "unlearnkit"}
    assert set(stable["metadata"]["unlearnkit"]) == {"profile", "parameters", "cells", "modules", "hash"}
    assert stable["cells"][1]["metadata"] == {"tags": ["parameters"]}
    assert content["metadata"]["papermill"]


def test_publish_promotes_all_then_check_agrees(project):
    (project.root / "figures/benchmarks").mkdir(parents=True)
    (project.root / "figures/benchmarks/ledger.json").write_text("{}")
    (project.root / "figures/gone.svg").write_text("of an earlier run")
    assert "published 1 files of figures/ and 2 notebooks" in project.run("publish")
    published = {path.name for path in (project.root / "figures").rglob("*") if path.is_file()}
    assert published == {"value.csv", "ledger.json"}
    text = (project.root / "README.md").read_text()
    start, end = "<!-- results:start -->", "<!-- results:end -->"
    assert text == f'# Tiny\n{start}\nThe value is {{"value": 12}}\n{end}\nThe end.\n'
    assert project.pending() == ""
    assert "agree" in project.run("check")


def test_a_full_run_is_published_beside_the_default_one(project):
    project.run("publish")
    before = {p: p.read_bytes() for p in project.root.rglob("*") if p.is_file() and "build" not in p.parts}
    assert "no finished full run" in project.run("check", "--profile", "full", status=2)
    project.run("reproduce", "--profile", "full")
    assert "published 1 files of figures/full/" in project.run("publish", "--profile", "full")
    assert (project.root / "figures/full/value.csv").is_file()
    assert "agree" in project.run("check", "--profile", "full")
    project.run("publish")  # which leaves the other run's alone
    assert "agree" in project.run("check", "--profile", "full")
    assert "agree" in project.run("check")
    for path in [p for p in before if p.suffix in (".ipynb", ".md", ".csv")]:
        assert path.read_bytes() == before[path]


def test_two_executions_publish_the_same_bytes(project):
    def published():
        return {path.name: path.read_bytes() for path in (project.root / "notebooks").iterdir()}

    project.run("publish")
    first = published()
    assert b'"number 12.0\\n"' in first["00_overview.ipynb"]
    project.executed("01_second").unlink()
    project.run("reproduce", "--notebook", "01")
    project.run("publish")
    assert published() == first
    text = first["01_second.ipynb"].decode()
    assert not re.search(r"papermill|iopub|0x[0-9a-f]{6}", text)
    assert "<object object at 0x0> (time)" in text


def test_publish_refuses_an_unfinished_stale_or_changed_run(project):
    before = (project.root / "README.md").read_text()
    project.replace("notebooks/01_second.ipynb", "* scale", "* scale * 1")
    message = project.run("publish", status=2)
    assert "notebook 01_second is missing or out of date: run `make reproduce`" in message
    assert "its code cells changed" in message
    assert (project.root / "README.md").read_text() == before
    assert not (project.root / "figures").exists()


def test_publish_refuses_a_failed_notebook(project):
    failed = project.executed("00_overview").with_suffix(".failed.ipynb")
    failed.write_text("{}")
    assert f"00_overview failed: {failed}" in project.run("publish", status=2)


def test_publish_refuses_parameters_that_the_notebook_does_not_show(project):
    content = json.loads(project.executed("00_overview").read_text())
    injected = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "outputs": []}
    content["cells"].insert(2, injected | {"source": "# Parameters\nscale = 2.0\n", "execution_count": 2})
    project.executed("00_overview").write_text(json.dumps(content))
    assert "differs from the default profile: scale = 2.0" in project.run("publish", status=2)


def test_publish_refuses_large_files_other_runs_and_a_readme_without_a_block(project):
    assert "only the default run" in project.run("publish", "--profile", "quick", status=2)
    (project.root / "README.md").write_text("# Tiny")
    assert "results:start" in project.run("publish", status=2)
    (project.root / "build/default/figures/value.csv").write_text("x" * 1_100_000)
    (project.root / "README.md").write_text("<!-- results:start -->\n<!-- results:end -->")
    assert "over the limit of 1 MB a file: value.csv" in project.run("publish", status=2)
    assert not (project.root / "figures").exists()


def test_check_names_stale_notebooks_and_missing_runs(project):
    project.run("publish")
    project.replace("unlearnkit/numbers.py", "len(model)", "len(model) + 0")
    message = project.run("check", status=2)
    assert "notebooks/01_second.ipynb is stale: module unlearnkit.numbers changed" in message
    assert "no finished default run" in message
    assert "00_overview" not in message


@pytest.mark.parametrize(
    ("published", "made", "fault"),
    [
        ("a,b\nx,1.00\n", "a,b\nx,1.04\n", None),
        ("a,b\nx,0.001\n", "a,b\nx,0.002\n", None),
        ("a,b\nx,nan\n", "a,b\nx,nan\n", None),
        ("a,seconds\nx,1\n", "a,seconds\nx,9\n", None),
        ("a,b\nx,1.0\n", "a,b\nx,1.2\n", "figures/t.csv differs at /0/b: 1.0 published, 1.2 in the run"),
        ("a,b\nx,1\n", "a,b\ny,1\n", "figures/t.csv differs at /0/a: x published, y in the run"),
        ("a,b\nx,1\n", "a,b\nx,1\nx,1\n", "figures/t.csv differs at /: "),
        ("a,b\nx,1\n", "a,c\nx,1\n", "figures/t.csv differs at /0: "),
    ],
)
def test_tables_are_compared_with_tolerances(tmp_path, monkeypatch, published, made, fault):
    assert_differences(tmp_path, monkeypatch, "t.csv", published, made, fault)


@pytest.mark.parametrize(
    ("published", "made", "fault"),
    [
        ('{"a": [1, {"b": 2.0}], "seconds": 3}', '{"a": [1, {"b": 2.01}], "seconds": 9}', None),
        ('{"holds": true}', '{"holds": false}', "figures/t.json differs at /holds: True published, False"),
        ('{"a": [1, 2]}', '{"a": [1]}', "figures/t.json differs at /a: "),
    ],
)
def test_claims_are_compared_with_tolerances(tmp_path, monkeypatch, published, made, fault):
    assert_differences(tmp_path, monkeypatch, "t.json", published, made, fault)


def assert_differences(tmp_path, monkeypatch, name, published, made, fault):
    for folder, text in (("figures", published), ("made", made)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    monkeypatch.setattr(publish, "FIGURES", tmp_path / "figures")
    found = list(check.differences(tmp_path / "figures", tmp_path / "made", [name]))
    assert len(found) == (fault is not None)
    assert not fault or found[0].startswith(fault)


def test_figures_of_one_side_only_are_named(tmp_path, monkeypatch):
    (tmp_path / "old.svg").write_text("")
    monkeypatch.setattr(publish, "FIGURES", tmp_path)
    found = list(check.differences(tmp_path, tmp_path, ["new.svg"]))
    assert found == ["figures/new.svg is only in the run", "figures/old.svg is only published"]
