"""Cells: cached by content, resumed, and their cost."""

from dataclasses import replace

import pandas as pd
import pytest

from unlearnkit import files, paths
from unlearnkit.study import cells, machine
from unlearnkit.study.cells import Cell, Shared, Tidy


@pytest.fixture
def counted(monkeypatch):
    """Cells that ran; their work is to leave one number, and a ledger where they train."""
    calls = []

    def work(cell):
        calls.append(cell)
        if cell.stage == "train":
            (cell.folder / "ledger").mkdir(exist_ok=True)
        return pd.DataFrame({"metric": ["nll"], "value": [1.0]})

    for place in ("train.train", "unlearn.path", "unlearn.portraits"):
        monkeypatch.setattr(f"unlearnkit.study.experiments.{place}", work)
    return calls


def cell(stage="train", needs=(), published=False, **config):
    module = {"train": "train"}.get(stage, "unlearn")
    return Cell(
        title="a cell",
        estimate_s=1.0,
        stage=stage,
        module=module,
        arm="an arm",
        seed=1,
        config={"model": "gpt2-tiny", **config},
        needs=needs,
        published=published,
    )


def test_a_cell_runs_once_and_says_what_it_cost(counted):
    one = cell()
    one.run()
    one.run()
    assert len(counted) == 1
    assert one.done()
    assert one.cost()["seconds"] >= 0
    assert one.cost()["peak_bytes"] > 1e6
    assert set(one.cost()["made"]) == {"commit", "registered", "processor", "python", "torch", "transformers"}
    assert pd.read_csv(one.observations)["value"].tolist() == [1.0]


def test_an_unfinished_cell_runs_again(counted):
    one = cell()
    one.folder.mkdir(parents=True)
    one.observations.write_text("half a li")
    assert not one.done()
    one.run()
    assert counted == [one]
    assert pd.read_csv(one.observations)["value"].tolist() == [1.0]


def test_a_failing_cell_is_not_done(counted, monkeypatch):
    def fail(_cell):
        raise MemoryError

    monkeypatch.setattr("unlearnkit.study.experiments.train.train", fail)
    with pytest.raises(MemoryError):
        cell().run()
    assert not cell().done()


def test_a_training_half_made_again_is_not_done(counted, monkeypatch):
    """Its ledger, deleted and half written anew, must not be read as the whole one that once was."""
    trained = cell()
    trained.run()
    (trained.folder / "ledger").rmdir()

    def killed(one):
        (one.folder / "ledger").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("unlearnkit.study.experiments.train.train", killed)
    reader = cell("portraits", (trained,))
    with pytest.raises(KeyboardInterrupt):
        reader.run()
    assert not trained.on_disk()
    assert not counted[1:]


def test_a_published_cell_counts_as_done(counted):
    one = cell(published=True)
    assert one.done()
    one.run()
    assert not counted
    assert not one.is_made()


def test_what_a_cell_needs_is_computed_where_only_its_rows_are_published(counted):
    train = cell(published=True)
    walk = cell("path", (train,), published=True)
    reader = cell("portraits", (train, walk))
    reader.run()
    assert [c.stage for c in counted] == ["train", "path", "portraits"]
    reader.run()
    assert len(counted) == 3


@pytest.mark.parametrize("here", [True, False])
def test_published_rows_are_enough_where_this_checkout_has_them(counted, here):
    """A cluster's worker may have older data than the checkout that asks for the run."""
    rows = pd.DataFrame({"metric": ["nll"], "value": [2.0]})
    walk = replace(cell("path"), restore=lambda _cell: rows if here else None)
    cell("portraits", (walk,)).run()
    assert [c.stage for c in counted] == (["portraits"] if here else ["path", "portraits"])
    assert pd.read_csv(walk.observations)["value"].tolist() == [2.0 if here else 1.0]
    assert walk.is_made() is not here


def test_a_fine_tuning_without_its_ledger_is_repeated_for_a_reader_only(counted):
    train = cell()
    train.run()
    ledger = train.folder / "ledger"
    first, second = (cell("path", (train,), layers=name) for name in ("all", "last2"))
    tidy = Tidy(title="", estimate_s=0, owner=train, readers=(first,))
    assert not tidy.done()  # nothing has read it yet
    tidy.run()
    assert ledger.is_dir()
    first.run()
    tidy.run()
    assert tidy.done()
    assert not ledger.exists()
    train.run()
    assert [c.stage for c in counted] == ["train", "path"]
    second.run()
    assert [c.stage for c in counted] == ["train", "path", "train", "path"]
    assert not tidy.done()  # to be deleted again


def test_what_another_machine_tells_of_a_cell_counts_and_serves_no_reader(counted, monkeypatch, tmp_path):
    """Only its texts come over: who needs its weights or ledger here makes it here."""
    train, here = cell(), paths.run_cache()
    reader = cell("path", (train,))
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / "elsewhere"))
    train.run()
    (train.folder / "weights.safetensors").touch()
    told, cost = train.told(), train.cost()
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(here))
    train.receive(told)
    assert {file.name for file in train.folder.iterdir()} == {"observations.csv", "done.json"}
    assert train.done()
    assert train.cost() == cost | {"elsewhere": True}
    (train.folder / "ledger").mkdir()  # half of it, of a run that was stopped
    reader.run()
    assert [c.stage for c in counted] == ["train", "train", "path"]
    assert "elsewhere" not in train.cost()


def test_a_cell_that_comes_over_counts_once_all_of_it_is_there(counted, monkeypatch):
    one, write = cell(), files.write_bytes

    def stopped(path, data):
        if path.name == "observations.csv":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(files, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        one.receive({"done.json": b"{}", "observations.csv": b""})
    assert not one.done()


def test_a_ledger_that_is_still_to_be_written_is_still_to_be_deleted(counted):
    """The steps to do are chosen before the first of them runs."""
    train = cell()
    walk = cell("path", (train,))
    tidy = Tidy(title="", estimate_s=0, owner=train, readers=(walk,))
    todo = [step for step in (train, walk, tidy) if not step.done()]
    assert todo == [train, walk, tidy]
    for step in todo:
        step.run()
    assert tidy.done()
    assert not (train.folder / "ledger").exists()


def test_shared_lists_have_the_key_of_plain_ones():
    facts = [{"id": "a", "text": "x"}]
    assert cell(facts=Shared(facts)).key == cell(facts=facts).key
    assert cell(facts=Shared([*facts, {}])).key != cell(facts=facts).key


def test_the_key_follows_configuration_and_needs():
    base = cell(tokens=1)
    assert base.key == cell(tokens=1).key
    assert base.key != cell(tokens=2).key
    needing = [cell("path", (need,)).key for need in (base, cell(tokens=2))]
    assert len({base.key, cell("path").key, *needing}) == 4


def test_digests_see_values_and_their_order():
    assert cells.digest({"a": 1, "b": 2}) == cells.digest({"b": 2, "a": 1})
    assert len({cells.digest(v) for v in ([1, 2], [2, 1], ["1", "2"], [1.0, 2.5])}) == 4


def test_where_there_is_no_git_a_cell_ends_all_the_same(counted, monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr("subprocess.run", missing)
    machine.describe.cache_clear()
    one = cell()
    one.run()
    machine.describe.cache_clear()
    assert one.cost()["made"]["commit"] == ""
