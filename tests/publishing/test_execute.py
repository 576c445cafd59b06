"""`reproduce` on a throw-away project: what runs, what does not, and what a failure or a kill leaves."""

import fcntl
import json
import os
import signal
import time

import pytest
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


def times(project, run="default"):
    files = (project.root / "build" / run).rglob("*")
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file() and path.name != ".lock"}


def outputs(project, name, run="default"):
    cells = json.loads(project.executed(name, run).read_text())["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def test_first_call_tells_the_plan_runs_all_and_says_where_to_look(finished):
    text = finished.first_output
    expected = 1 + 2 * 20 / min(2, os.cpu_count())  # notebooks run two at once
    assert f"To do: 3 of 3, about {expected:.0f} s" in text
    assert text.index("observe") < text.index("notebook 00_overview") < text.index("notebook 01_second")
    assert 'The value is {"value": 12}' in text
    assert str(finished.root / "build/default/site/index.html") in text
    assert outputs(finished, "00_overview")[-1][0]["text"] == ["number 12.0\n"]
    assert (finished.root / "build/default/figures/value.csv").is_file()
    assert not list((finished.root / "build").rglob("*partial*"))


def test_second_call_runs_nothing_and_imports_nothing_heavy(project):
    before = times(project)
    (project.root / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        "heavy = {'torch', 'papermill', 'sphinx', 'nbformat', 'pandas', 'transformers'}\n"
        "atexit.register(lambda: print('heavy:', sorted(heavy & set(sys.modules))))\n"
    )
    text = project.run("reproduce")
    assert "everything is up to date" in text
    assert "heavy: []" in text
    assert times(project) == before


def test_touching_files_runs_nothing(project):
    before = times(project)
    for path in [*project.root.glob("notebooks/*"), *project.root.glob("unlearnkit/*.py")]:
        os.utime(path)
    project.run("reproduce")
    assert times(project) == before


def test_a_changed_module_re_executes_what_imports_it(project):
    project.replace("unlearnkit/numbers.py", "# a number", "# a well chosen number")
    project.replace("unlearnkit/plots.py", "Draws: writes", "Draws, that is, writes")
    assert project.pending() == ""
    project.replace("unlearnkit/numbers.py", "len(model)", "7")
    assert project.pending() == "notebook 01_second"
    project.replace("unlearnkit/numbers.py", "7", "len(model)")
    project.replace("unlearnkit/plots.py", "first,", "one,")
    assert project.pending() == "notebook 01_second"


def test_changed_stage_output_or_prose_re_executes(project):
    (project.root / "build/default/observations.json").write_text('{"value": 99}')
    assert project.pending() == "notebook 00_overview, notebook 01_second"
    project.run("reproduce", "--notebook", "00")
    assert outputs(project, "00_overview")[-1][0]["text"] == ["number 99.0\n"]
    assert project.pending() == "notebook 01_second"
    project.replace("notebooks/00_overview.ipynb", "Prose.", "More prose.")
    assert project.pending() == "notebook 00_overview, notebook 01_second"


def test_a_lost_figure_re_executes_its_notebook(project):
    (project.root / "build/default/figures/value.csv").unlink()
    assert project.pending() == "notebook 01_second"


def test_an_overridden_run_has_its_own_folder_and_typed_values(project):
    before = times(project)
    text = project.run("reproduce", "--model", "abc", "-p", "scale=3")
    assert "with model = 'abc'" in text
    assert "with scale = 3.0" in text
    run = next(path.name for path in (project.root / "build").iterdir() if path.name != "default")
    assert outputs(project, "00_overview", run)[-1][0]["text"] == ["number 9.0\n"]
    assert times(project) == before
    assert "everything is up to date" in project.run("reproduce", "--profile", run)


def test_own_data_is_read_again_when_its_content_changes(project):
    facts = project.root / "facts.jsonl"
    facts.write_text("{}\n")
    arguments = ("reproduce", "--data", "facts.jsonl", "--notebook", "00")
    project.run(*arguments)
    run = next(path.name for path in (project.root / "build").iterdir() if path.name != "default")
    assert project.pending(run) == "notebook 01_second"
    facts.write_text("{}\n{}\n")
    assert project.pending(run) == "notebook 00_overview, notebook 01_second"


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


def test_a_dead_kernel_is_said_to_be_one_and_the_other_notebooks_run(project):
    project.write("00_overview", notebook("Overview", "import os; os._exit(1)"))
    project.write("01_second", notebook("Second", "1 + 1"))
    assert "00_overview failed: its kernel died" in project.run("reproduce", status=2)
    assert outputs(project, "01_second")[-1][0]["data"]["text/plain"] == ["2"]


def test_a_kernel_that_does_not_answer_gets_a_second_chance_and_then_an_error(project):
    project.replace("unlearnkit/notebooks.py", "CELL_SECONDS = 600", "CELL_SECONDS = 4")
    once = "import pathlib, time\nmark = pathlib.Path('once')\n"
    once += "if not mark.exists():\n    mark.touch()\n    time.sleep(60)"
    project.write("00_overview", notebook("Overview", once))
    project.write("01_second", notebook("Second", "import time\ntime.sleep(60)"))
    text = project.run("reproduce", status=2)
    assert "01_second failed: a cell gave no answer in 4 s, twice" in text
    assert "00_overview failed" not in text
    assert project.executed("00_overview").exists()


def test_killed_in_a_notebook_it_resumes_to_the_same_output(finished, tmp_path):
    project = Project(tmp_path / "project").create()
    hold = project.root / "hold"
    hold.touch()
    wait = f"import pathlib, time\nwhile pathlib.Path({str(hold)!r}).exists(): time.sleep(0.05)"
    project.write("01_second", notebook("Second $x^2$", wait, READ, DRAW))
    process = project.start("reproduce")
    wait_for((project.executed("01_second").with_name(".01_second.partial.ipynb")).exists)
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


def test_killed_in_a_stage_it_resumes_to_the_same_output(finished, tmp_path):
    project = Project(tmp_path / "project").create()
    started = project.root / "started"
    slow = f"open({str(started)!r}, 'w').close(); import time; time.sleep(600)\n        output.write"
    project.replace("unlearnkit/study.py", "output.write", slow)
    process = project.start("reproduce")
    wait_for(started.exists)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    project.replace("unlearnkit/study.py", slow, "output.write")
    assert "To do: 3 of 3" in project.run("reproduce")
    assert outputs(project, "01_second") == outputs(finished, "01_second")


def test_two_runs_in_one_folder_are_refused(project):
    with (project.root / "build/default/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run is at work" in project.run("reproduce", status=2)
