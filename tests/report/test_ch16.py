"""A run beside another: two planted runs whose cells and readings are known."""

from types import SimpleNamespace

import pandas as pd
import pytest
from planted_run import World, planted

from unlearnkit.report import Run
from unlearnkit.report import ch16_your_run as chapter
from unlearnkit.study.collect import KEY_DIGITS

KEYS = ("a" * 40, "b" * 40)
KINDS = ("claim's contrast", "price of forgetting", "distance to the oracle")
NAMES = {"model": "gpt2-tiny-pretrained"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The published run, a rerun of fewer seeds, one in another world, and one of another optimizer."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_BUILD", str(folder))
        yield {
            "published": planted(folder, World(), "first", **NAMES, seeds_adamw=4),
            "again": planted(folder, World(), "again", **NAMES, seeds_adamw=2),
            "apart": planted(folder, World(own=8.0, shared=4.0), "apart", **NAMES, seeds_adamw=3),
            "other": planted(folder, World(), "other", **NAMES, seeds_adamw=0, seeds_sgd=1),
        }


def test_a_run_agrees_with_itself_to_the_last_digit(runs):
    table = chapter.compared(runs["published"], runs["published"])
    assert (table["yours"] == table["published"]).all()
    assert (table["verdict"] == table["your_verdict"]).all()
    assert chapter.agrees(table).all()
    assert {*KINDS, "exact memorisation"} >= set(table["kind"])
    cells = chapter.shared_cells(runs["published"], runs["published"])
    assert (cells["cells"] == cells["shared"]).all()
    assert (cells["equal"] == cells["shared"]).all()
    assert cells["apart"].max() == 0


def test_a_rerun_of_fewer_seeds_agrees_and_shares_its_cells(runs):
    table = chapter.compared(runs["again"], runs["published"])
    assert set(table["n"]) == {4}
    assert set(table["n_yours"]) == {2}
    assert chapter.agrees(table).mean() > 0.8
    cells = chapter.shared_cells(runs["again"], runs["published"])
    assert (cells["shared"] == cells["cells"]).all()
    assert (cells["equal"] == cells["cells"]).all()


def test_another_world_does_not_agree(runs):
    table = chapter.compared(runs["apart"], runs["published"]).set_index(["kind", "reading"])
    row = table.loc[("claim's contrast", "C1")]
    assert row["published"] > 0 > row["yours"]
    assert not chapter.agrees(table)["claim's contrast", "C1"]
    assert row["verdict"] == row["your_verdict"] == "not replicated"  # either is below the margin, 0.1 nats
    cells = chapter.shared_cells(runs["apart"], runs["published"]).set_index("stage")
    assert (cells["equal"] == 0).all()
    assert (cells["unequal there"] == cells["shared"]).all()  # both were planted on this machine
    assert cells.loc["train", "apart"] > 0.1


def test_runs_without_a_common_arm_have_nothing_to_compare(runs):
    table = chapter.compared(runs["other"], runs["published"])
    assert table.empty
    assert (chapter.shared_cells(runs["other"], runs["published"])["shared"] == 0).all()


def test_one_published_seed_expects_nothing(runs, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(runs["published"].folder.parent))
    table = chapter.compared(runs["again"], Run("first", seeds=1))
    assert table["expected"].isna().all()
    assert not chapter.agrees(table).any()


def test_only_cells_of_one_processor_must_be_equal():
    """Of two shared cells, one on another processor differs: as many are equal as were made on the same."""
    rows = pd.DataFrame({"cell": [KEYS[0][:KEY_DIGITS], KEYS[1][:KEY_DIGITS]], "metric": "nll"})

    def run(processors, values):
        cells = [
            {"key": key, "stage": "train", "made": {"processor": p}}
            for key, p in zip(KEYS, processors, strict=True)
        ]
        return SimpleNamespace(manifest={"cells": cells}, table=lambda _: rows.assign(value=values))

    published = run("AA", [1.0, 2.0])
    row = chapter.shared_cells(run("AB", [1.0, 2.5]), published).iloc[0]
    assert (row["equal"], row["same processor"], row["unequal there"], row["apart"]) == (1, 1, 0, 0.5)
    row = chapter.shared_cells(run("AB", [1.5, 2.0]), published).iloc[0]
    assert (row["equal"], row["same processor"], row["unequal there"], row["apart"]) == (1, 1, 1, 0.5)
