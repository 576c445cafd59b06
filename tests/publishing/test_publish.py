"""Publishing: all or nothing, what is stripped, and that publishing again changes nothing."""

import json
import re

import pytest
from tiny_project import DRAW, READ, Project, notebook

from unlearnkit import paths
from unlearnkit.errors import DataError
from unlearnkit.publishing import publish
from unlearnkit.study import storage

RANDOM = """
import uuid, datetime
from IPython.display import HTML
print(object(), datetime.datetime.now(), uuid.uuid4())
HTML(f'<style>#T_{uuid.uuid4().hex[:5]}_row</style>')
""".strip()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A finished run of a quiet day, made the published one, beside things of an earlier release."""
    project = Project(tmp_path_factory.mktemp("published") / "project").create()
    project.write("01_second", notebook("Second", READ, DRAW, RANDOM))
    project.run("reproduce", "--notebook", "00")
    (project.root / "figures/benchmarks").mkdir(parents=True)
    (project.root / "figures/benchmarks/ledger.json").write_text("{}")
    (project.root / "figures/gone.svg").write_text("of an earlier run")
    project.said = project.run("publish", "--data", "default")
    return project


@pytest.fixture
def project(published, tmp_path):
    """The published project, elsewhere than where it was executed."""
    return published.copy(tmp_path / "project")


def content(project):
    shown = [
        *project.root.glob("notebooks/*"),
        *(project.root / "figures").rglob("*"),
        project.root / "README.md",
    ]
    return {str(p.relative_to(project.root)): p.read_bytes() for p in shown if p.is_file()}


def test_data_figures_notebooks_and_readme_are_put_in_place(published):
    assert published.said.strip().endswith("published 2 notebooks and 2 figures and tables")
    figures = {name.removeprefix("figures/") for name in content(published) if name.startswith("figures/")}
    tables = {f"data/{name}{storage.ENDING}" for name in ("cells", "facts", "train")}
    assert figures == {
        "benchmarks/ledger.json",
        "tables/value.csv",
        "value.svg",
        "data/manifest.json",
        *tables,
    }
    text = (published.root / "README.md").read_text()
    results, costs = (
        "<!-- {0}:start -->\n{1}<!-- {0}:end -->".format(*told)
        for told in (("results", "The value is 12.\n"), ("benchmarks", "It costs 4.\n"))
    )
    assert text == f"# Tiny\n{results}\n{costs}\nThe end.\n"
    shown = json.loads((published.root / "notebooks/00_overview.ipynb").read_text())
    assert shown["cells"][-1]["outputs"][0]["text"] == ["number 12.0\n"]


def test_publishing_again_writes_the_same_bytes(project):
    first = content(project)
    text = first["notebooks/01_second.ipynb"].decode()
    assert not re.search(r"papermill|iopub|0x[0-9a-f]{6}", text)
    assert "<object object at 0x0> (time)" in text
    project.run("publish")
    assert content(project) == first


def test_nothing_changes_where_a_notebook_fails(project):
    project.write("00_overview", notebook("Overview", "raise ValueError('no')"))
    before = content(project)
    assert "notebook 00_overview failed: ValueError: no" in project.run("publish", status=2)
    assert content(project) == before


@pytest.fixture
def made(project, monkeypatch):
    """Publishing from here, of what the project has executed."""
    monkeypatch.setattr(publish, "execute_all", lambda: project.root / "build/published")
    monkeypatch.setattr(publish, "FIGURES", project.root / "figures")
    monkeypatch.setattr(publish, "README", project.root / "README.md")
    monkeypatch.setattr(publish.notebooks, "SOURCES", project.root / "notebooks")
    monkeypatch.setattr(publish, "_readme", lambda: b"# New")
    return project


def test_nothing_changes_where_a_file_is_too_large(made):
    path = made.executed("00_overview", "published")
    path.write_text(path.read_text().replace("12.0", "1" * 1_100_000))
    before = content(made)
    with pytest.raises(publish.PublishError, match="over the limit of 1 MB a file: 00_overview.ipynb"):
        publish.publish()
    assert content(made) == before
    made.replace("build/published/notebooks/00_overview.ipynb", "1" * 1_100_000, "13.0")
    publish.publish()
    assert content(made) != before


def test_nothing_changes_without_data(made):
    before = content(made)
    with pytest.raises(DataError, match="no data in .*full"):
        publish.publish(made.root / "build/full/data")
    assert content(made) == before


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(publish.PublishError, match="results:start"):
        publish.readme("# Tiny")


@pytest.mark.parametrize(
    ("part", "limit"), [(f"train{storage.ENDING}", "LIMIT_BYTES"), ("manifest.json", "DATA_BYTES")]
)
def test_data_that_is_too_large_is_refused(tmp_path, monkeypatch, part, limit):
    target, data = tmp_path / "published", tmp_path / "data"
    told = {"machines": [], "files": {}}
    for folder in (target, data):
        folder.mkdir()
        storage.write_manifest(folder, told)
    before = (target / "manifest.json").read_text()
    if part == "manifest.json":
        storage.write_manifest(data, told | {"run": " " * 400})
    else:
        (data / part).write_bytes(b" " * 401)
    monkeypatch.setattr(publish.collect, "published", lambda: target)
    monkeypatch.setattr(publish, limit, 400)
    with pytest.raises(publish.PublishError, match="too large"):
        publish._publish_data(data)
    assert (target / "manifest.json").read_text() == before


def executed_notebook():
    """What papermill leaves, with every kind of output that varies."""
    content = notebook("Second", READ)
    content["metadata"] |= {
        "unlearnkit": {"inputs": "ab", "seconds": 3.1},
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
    assert set(stable["metadata"]) == {"kernelspec", "language_info"}
    assert stable["cells"][1]["metadata"] == {"tags": ["parameters"]}
    assert content["metadata"]["papermill"]
    assert "outputs" in content["cells"][-1]
    assert len(content["cells"][-1]["outputs"]) == 5
