"""Where a page's numbers come from, and files that are the same every time."""

import matplotlib.pyplot as plt
import pytest
from planted_run import World, planted

from unlearnkit.report import figures, tables


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    return planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=2)


def test_stamp_names_run_seeds_and_commit(run):
    told = tables.stamp(run).data
    assert "| data | planted |" in told
    assert "| seeds of gpt2-tiny-pretrained, AdamW | 0, 1 |" in told
    assert "| computed by commit | planted |" in told


def test_a_figure_saved_twice_is_the_same_file(run):
    files, open_before = [], plt.get_fignums()
    for _ in range(2):
        drawn, ax = figures.figure(2.0)
        ax.plot([0, 1], label="$\\theta_T$")
        ax.legend()
        figures.save(drawn, run, "method")
        files.append([(run.figures / f"method.{kind}").read_bytes() for kind in ("svg", "png")])
    assert files[0] == files[1]
    assert plt.get_fignums() == open_before
