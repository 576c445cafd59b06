"""`reproduce` on a throw-away project: what runs, what does not, and what a failure or a kill leaves."""

import json
import os
import shutil
import signal
import time

import pytest
from filelock import FileLock
from tiny_project import DRAW, READ, Project, notebook


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("finished") / "project").create()
    project.first_output = project.run("reproduce")
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A finished run that a test may change."""
    return finished.copy(tmp_path / "project")


def times(project, *folders):
    files = (path for folder in folders or ("build", "cache") for path in (project.root / folder).rglob("*"))
    return {str(p): p.stat().st_mtime_ns for p in files if p.is_file() and not p.name.endswith("lock")}


def outputs(project, name, run="default"):
    cells = json.loads(project.executed(name, run).read_text())["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def test_first_call_tells_the_plan_runs_all_and_says_where_to_look(finished):
    text = finished.first_output
    assert "To do: 4 of 4, about " in text
    assert text.index("observe") < text.index("data files") < text.index("notebooks")
    assert "The value is 12" in text
    assert "forget" not in text  # what the study itself forgets is handed over to nobody
    assert str(finished.root / "build/default/site/index.html") in text
    assert outputs(finished, "00_overview")[-1][0]["text"] == ["number 12.0\n"]
    assert (finished.root / "build/default/figures/value.svg").is_file()
    assert (finished.root / "build/default/data/manifest.json").is_file()
    assert not list(finished.root.rglob("*partial*"))


def test_a_dry_run_tells_the_plan_and_leaves_nothing(project):
    shutil.rmtree(project.root / "build")
    before = sorted(project.root.rglob("*"))
    text = project.run("reproduce", "--dry-run")
    assert "To do: " in text
    assert "data files" in text
    assert [p for p in sorted(project.root.rglob("*")) if "__pycache__" not in p.parts] == [
        p for p in before if "__pycache__" not in p.parts
    ]


def test_second_call_runs_nothing_and_imports_nothing_heavy(project):
    before = times(project)
    (project.root / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        "heavy = {'torch', 'papermill', 'sphinx', 'nbformat', 'transformers', 'joblib'}\n"
        "atexit.register(lambda: print('heavy:', sorted(heavy & set(sys.modules))))\n"
    )
    text = project.run("reproduce")
    assert "everything is up to date" in text
    assert "heavy: []" in text
    assert times(project) == before


def test_touching_files_and_editing_other_code_runs_nothing(project):
    for path in [*project.root.glob("notebooks/*"), *project.root.rglob("*.py")]:
        os.utime(path)
    project.replace("unlearnkit/study/experiments/observe.py", "The experiment.", "An experiment.")
    assert project.pending() == ""


def test_a_changed_report_or_prose_re_executes_notebooks_only(project):
    project.replace("unlearnkit/report/plots.py", "Draws.", "Draws a line.")
    assert project.pending() == "notebook 00_overview, notebook 01_second"
    project.replace("unlearnkit/report/plots.py", "Draws a line.", "Draws.")
    project.replace("notebooks/01_second.ipynb", "Prose.", "More prose.")
    assert project.pending() == "notebook 01_second"


def test_a_changed_version_recomputes_all_that_follows(project):
    project.replace("unlearnkit/study/versions.py", '"train": 1', '"train": 2')
    project.replace("unlearnkit/study/experiments/observe.py", "value = len", "value = 1 + len")
    assert project.pending() == "observe, data files"  # and, should these change, the notebooks
    project.run("reproduce", "--notebook", "00")
    assert outputs(project, "00_overview")[-1][0]["text"] == ["number 13.0\n"]
    assert project.pending() == "notebook 01_second"


def test_an_overridden_run_has_its_own_folder_and_typed_values(project):
    before = times(project, "build/default")
    text = project.run("reproduce", "--model", "abc", "-p", "scale=3", "--notebook", "00")
    assert "fetched abc" in text  # a hub model's content names the run
    assert "with model = 'abc'" in text
    assert "with scale = 3.0" in text
    run = project.own_run()
    assert outputs(project, "00_overview", run)[-1][0]["text"] == ["number 9.0\n"]
    assert times(project, "build/default") == before
    assert project.pending(run) == "notebook 01_second"


def test_own_data_is_known_by_its_content(project):
    facts = project.root / "facts.jsonl"
    facts.write_text("{}")
    text = project.run("reproduce", "--data", "facts.jsonl", "--notebook", "00")
    assert "-m unlearnkit forget --who 'Ada Example'\n" in text
    first = project.own_run()
    assert outputs(project, "00_overview", first)[-1][0]["text"] == ["number 212.0\n"]
    assert project.pending(first) == "notebook 01_second"
    (project.root / "build" / first).rename(project.root / "first")
    facts.write_text("{}{}")
    project.run("reproduce", "--data", "facts.jsonl", "--notebook", "00")
    assert project.own_run() != first
    assert outputs(project, "00_overview", project.own_run())[-1][0]["text"] == ["number 412.0\n"]


def test_published_results_are_taken_and_fresh_ones_made(project):
    (project.root / "figures").mkdir()
    (project.root / "build/default/data").rename(project.root / "figures/data")
    (project.root / "cache").rename(project.root / "cache-of-the-publisher")
    assert "1 results are taken from figures/data" in project.run("reproduce", "--notebook", "00")
    assert project.pending() == ""  # the data is what it was, byte for byte
    assert not (project.root / "cache/train").exists()
    text = project.run("reproduce", "--fresh", "--notebook", "00")
    assert "To do: 2 of 3" in text
    assert (project.root / "cache/train").is_dir()
    assert "00_overview: done" in text  # the manifest tells who made the data: notebooks show it
    assert project.pending() == "notebook 01_second"


def test_a_failing_notebook_keeps_its_traceback_and_the_next_call_retries_it(project):
    project.write("00_overview", notebook("Overview", READ, "raise ValueError('first\\nthe number is odd')"))
    text = project.run("reproduce", status=2)
    failed = project.executed("00_overview").with_suffix(".failed.ipynb")
    assert text.rstrip().endswith(f"failed: the number is odd\n  traceback in {failed}")
    assert "Traceback" not in text
    assert "ValueError" in json.dumps(json.loads(failed.read_text())["cells"][-1]["outputs"])
    assert "Failed" in (project.root / "build/default/site/index.html").read_text()
    assert project.pending() == "notebook 00_overview"
    project.write("00_overview", notebook("Overview", READ, "print('well', number)"))
    project.run("reproduce")
    assert not failed.exists()
    assert outputs(project, "00_overview")[-1][0]["text"] == ["well 12.0\n"]
    assert "Failed" not in (project.root / "build/default/site/index.html").read_text()


def test_where_no_notebook_ever_succeeded_their_failures_are_told(tmp_path):
    project = Project(tmp_path / "project").create()
    for name in ("00_overview", "01_second"):
        project.write(name, notebook("Bad", "1 / 0"))
    text = project.run("reproduce", status=2)
    assert text.count("failed: ZeroDivisionError: division by zero") == 2
    assert not (project.root / "build/default/site").exists()


def test_a_dead_kernel_and_a_silent_one_are_said_to_be_that_and_other_notebooks_run(project):
    project.replace("unlearnkit/publishing/notebooks.py", "CELL_SECONDS = 600", "CELL_SECONDS = 4")
    project.write("00_overview", notebook("Overview", "import os; os._exit(1)"))
    project.write("01_second", notebook("Second", "import time; time.sleep(60)"))
    project.write("02_third", notebook("Third", "1 + 1"))
    text = project.run("reproduce", status=2)
    for name in ("00_overview", "01_second"):
        assert f"{name} failed: its kernel died or gave no answer" in text
    assert outputs(project, "02_third")[-1][0]["data"]["text/plain"] == ["2"]


def test_killed_in_a_notebook_it_resumes_to_the_same_output(finished, tmp_path):
    project = Project(tmp_path / "project").create()
    hold, reached = project.root / "hold", project.root / "reached"
    hold.touch()
    wait = f"import pathlib, time\npathlib.Path({str(reached)!r}).touch()\n"
    wait += f"while pathlib.Path({str(hold)!r}).exists(): time.sleep(0.05)"
    project.write("01_second", notebook("Second $x^2$", wait, READ, DRAW))
    process = project.start("reproduce")
    wait_for(reached.exists)
    wait_for(project.executed("00_overview").exists)
    first = times(project)[str(project.executed("00_overview"))]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()  # its worker, which is at the notebook, holds its output open
    assert not project.executed("01_second").exists()
    assert not (project.root / "build/default/figures").exists()
    assert project.pending() == "notebook 01_second"
    hold.unlink()
    project.run("reproduce")  # a worker of the killed run may be at that notebook yet: waits, and takes it
    assert project.pending() == ""
    assert times(project)[str(project.executed("00_overview"))] == first
    assert outputs(project, "00_overview") == outputs(finished, "00_overview")
    assert outputs(project, "01_second")[-1][0]["data"] == outputs(finished, "01_second")[-1][0]["data"]


def test_killed_in_a_cell_it_resumes_to_the_same_output(finished, tmp_path):
    project = Project(tmp_path / "project").create()
    started = project.root / "started"
    slow = f"open({str(started)!r}, 'w').close(); import time; time.sleep(600)\n    return"
    project.replace("unlearnkit/study/experiments/observe.py", "return", slow)
    process = project.start("reproduce")
    wait_for(started.exists)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    project.replace("unlearnkit/study/experiments/observe.py", slow, "return")
    assert "To do: 4 of 4" in project.run("reproduce")
    assert outputs(project, "01_second") == outputs(finished, "01_second")


def test_two_runs_in_one_folder_are_refused(project):
    with FileLock(project.root / "build/default/.lock"):
        assert "another run is at work" in project.run("reproduce", status=2)


@pytest.mark.parametrize("variable", ["UNLEARNKIT_BUILD", "UNLEARNKIT_RUNS"])
def test_where_nothing_can_be_written_it_is_said_and_nothing_is_made(
    finished, tmp_path, monkeypatch, variable
):
    """As in a read-only project; root may write to any folder, so that a file is in the way here."""
    project = Project(tmp_path / "project").create()
    (tmp_path / "file").touch()
    environment = project.environment()
    monkeypatch.setattr(
        Project, "environment", lambda _: environment | {variable: str(tmp_path / "file" / "a")}
    )
    text = project.run("reproduce", status=2)
    assert text.startswith(f"error: cannot write to {tmp_path}/file/a")
    assert f"Set {variable} to a folder elsewhere" in text
    assert not (project.root / "build").exists()


def test_what_the_inputs_lack_is_said_before_a_folder_is_made(project):
    refuse = (
        "def check(profile):\n    from unlearnkit.errors import DataError\n    raise DataError('too long')\n"
    )
    (project.root / "unlearnkit/study/inputs.py").write_text(refuse)
    assert project.run("reproduce", "--model", "abcd", status=2) == "error: too long\n"
    assert [path.name for path in (project.root / "build").iterdir()] == ["default"]
    assert "everything is up to date" in project.run("reproduce")  # the built-in study needs no such check


def test_a_failed_cell_is_told_and_not_the_data_that_lacks_it(project):
    project.replace("unlearnkit/study/__init__.py", "seed=0)", "seed=0, chain='c')")
    fail = "from unlearnkit.errors import DivergenceError\n    raise DivergenceError('too far')\n    return"
    project.replace("unlearnkit/study/experiments/observe.py", "return", fail)
    text = project.run("reproduce", "--fresh", "--model", "abcd", status=2)
    assert text.rstrip().endswith("error: too far")
    assert "Traceback" not in text


def test_a_failed_report_is_told_after_the_notebooks_that_failed(project):
    project.write("00_overview", notebook("Overview", "import os; os._exit(1)"))
    project.replace("unlearnkit/report/verdicts.py", "return f", "raise KeyError('first'); return f")
    text = project.run("reproduce", status=2)
    assert "Traceback" not in text
    assert text.index("00_overview failed: its kernel died") < text.index("'first'")


def test_a_long_temporary_folder_is_no_obstacle(project, tmp_path, monkeypatch):
    """Names of Unix sockets end at 107 bytes on Linux and at 103 on macOS."""
    long = tmp_path / ("t" * (98 - len(str(tmp_path)) - 1))
    long.mkdir()
    assert len(str(long)) == 98
    monkeypatch.setenv("TMPDIR", str(long))
    project.write("00_overview", notebook("Overview", READ, "print('still', number)"))
    project.run("reproduce")
    assert outputs(project, "00_overview")[-1][0]["text"] == ["still 12.0\n"]
    assert not list(long.iterdir())


def test_a_user_without_a_home_needs_only_the_folders(project, monkeypatch, tmp_path):
    """As in some containers: neither HOME nor an entry in the system's list of users."""
    no_home = "import os, pwd\npwd.getpwuid = {}.__getitem__\n"
    no_home += "if os.environ.get('HOME') == '-':\n    del os.environ['HOME']\n"
    (project.root / "sitecustomize.py").write_text(no_home)
    monkeypatch.setenv("HOME", "-")
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "user-cache"))
    assert project.python("import os; print(os.path.expanduser('~'))") == "~"
    project.write("00_overview", notebook("Overview", READ, "print('still', number)"))
    project.run("reproduce")
    assert outputs(project, "00_overview")[-1][0]["text"] == ["still 12.0\n"]
