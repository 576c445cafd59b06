"""Where a page's numbers come from, times in words, warnings, and files that are the same every time."""

import matplotlib.pyplot as plt
import pytest
from planted_run import World, planted

from unlearnkit.report import ch00_overview as chapter
from unlearnkit.report import figures, tables


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    return planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=2)


def test_a_guard_is_silent_where_the_text_is_right_and_times_have_a_unit():
    assert chapter.unless(True, "x") is None
    assert "x" in chapter.unless(False, "x").data
    assert [chapter.duration(s) for s in (89, 90, 5400)] == ["89 s", "2 min", "1.5 h"]


def test_stamp_names_run_seeds_and_commit(run):
    told = tables.stamp(run).data
    assert "| data | planted |" in told
    assert "| seeds of gpt2-tiny-pretrained, AdamW | 0, 1 |" in told
    assert "| computed by commit | planted |" in told


def test_a_figure_saved_twice_is_the_same_file(run):
    files = []
    for _ in range(2):
        drawn, ax = figures.figure(2.0)
        ax.plot([0, 1], label="$\\theta_T$")
        ax.legend()
        figures.save(drawn, run, "method")
        files.append([(run.figures / f"method.{kind}").read_bytes() for kind in ("svg", "png")])
    assert files[0] == files[1]
    assert not plt.get_fignums()
