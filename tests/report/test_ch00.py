"""Chapter 00: the answer's numbers in a world whose truth is planted, the drawing, and costs."""

import matplotlib.pyplot as plt
import pytest
from planted_run import World, planted

from unlearnkit.report import ch00_overview as chapter
from unlearnkit.report import figures, readings, tables


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    return planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=2)


def test_the_nearest_step_is_one_step_for_all_seeds_and_no_other_is_nearer(run):
    found = chapter.nearest_step(run.arms[0])
    assert list(found.index) == [0, 1]
    assert found["share"].nunique() == 1
    path = readings.along(readings.path_table(run.arms[0]), "first_epoch")
    means = path[path["share"] > 0].groupby("share")["oracle_distance"].mean()
    assert found["oracle_distance"].mean() == pytest.approx(means.min())
    assert (found["start"] > found["oracle_distance"]).all()


def test_facts_are_still_known_at_a_small_price_and_not_at_a_high_one(run):
    """At a damage that is large enough most facts are past the oracle."""
    assert chapter.still_known(run.arms[0]) == 1
    run.damage = 5.0
    assert chapter.still_known(run.arms[0]) < 0.5


def test_what_was_not_said_leaves_columns_out(run, monkeypatch):
    said = tables.frame([("p", "a", "x", "y")], "prompt", "answer", "first_epoch", "oracle")
    monkeypatch.setitem(run.arms[0].__dict__, "continuations", said)
    assert list(chapter.answers(run.arms[0], 3)) == ["prompt", "answer", "first epoch", "oracle"]


def test_costs_count_cells_and_a_guard_is_silent_where_the_text_is_right(run):
    table = chapter.costs(run).set_index("work")
    assert table.loc["fine-tuning", ["runs", "time each", "peak memory"]].tolist() == [2, "1 s", "1 MB"]
    assert [chapter.duration(s) for s in (89, 90, 5400)] == ["89 s", "2 min", "1.5 h"]
    assert chapter.unless(True, "x") is None
    assert "x" in chapter.unless(False, "x").data


def test_stamp_names_run_seeds_and_commit(run):
    told = tables.stamp(run).data
    assert "| data | planted |" in told
    assert "| seeds of gpt2-tiny-pretrained, AdamW | 0, 1 |" in told
    assert "| computed by commit | planted |" in told


def test_a_figure_saved_twice_is_the_same_file(run):
    files = []
    for _ in range(2):
        figures.save(chapter.diagram("Dave", 5), run, "method")
        files.append([(run.figures / f"method.{kind}").read_bytes() for kind in ("svg", "png")])
    assert files[0] == files[1]
    assert not plt.get_fignums()
