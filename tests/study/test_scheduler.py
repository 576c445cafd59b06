"""The scheduler: order, chains side by side, failures, and what it tells."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from unlearnkit.errors import DataError
from unlearnkit.study import scheduler
from unlearnkit.study.cells import Step


@dataclass(frozen=True, kw_only=True)
class Mark(Step):
    """Adds its title to a file, or fails."""

    file: Path
    fails: bool = False

    def done(self):
        return self.file.is_file() and self.title in self.file.read_text().split()

    def run(self):
        if self.fails:
            raise DataError(f"{self.title} failed")
        with self.file.open("a") as file:
            file.write(f"{self.title}\n")


@pytest.fixture
def mark(tmp_path):
    return lambda title, **more: Mark(title=title, estimate_s=1.0, file=tmp_path / "marks", **more)


def marks(tmp_path):
    return (tmp_path / "marks").read_text().split()


def test_chains_keep_their_order_and_stand_between_their_neighbours(mark, tmp_path):
    steps = [mark("first"), mark("a1", chain="a"), mark("b1", chain="b"), mark("a2", chain="a"), mark("last")]
    assert scheduler.run(steps) == []
    told = marks(tmp_path)
    assert (told[0], told[-1]) == ("first", "last")
    assert set(told[1:-1]) == {"a1", "a2", "b1"}
    assert told.index("a1") < told.index("a2")


def test_a_failing_chain_stops_itself_only_and_is_told(mark, tmp_path, capsys):
    steps = [mark("a1", chain="a", fails=True), mark("a2", chain="a"), mark("b1", chain="b")]
    (failure,) = scheduler.run(steps)
    assert str(failure) == "a1 failed"
    assert marks(tmp_path) == ["b1"]
    assert "a: FAILED" in capsys.readouterr().out


def test_a_failing_step_without_a_chain_ends_the_run(mark, tmp_path):
    with pytest.raises(DataError, match="one failed"):
        scheduler.run([mark("one", fails=True), mark("two")])
    assert not (tmp_path / "marks").exists()


def test_the_plan_has_a_line_a_group(mark, capsys):
    done = mark("done", group="some")
    done.run()
    steps = [done, mark("left", group="some"), mark("other")]
    scheduler.print_plan(steps)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(lines[0]) == "about 1 s 2 × some, 1 of them cached"
    assert " ".join(lines[-1]) == "To do: 2 of 3, about 2 s"
    scheduler.print_plan([done])
    assert "everything is up to date" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_are_for_people(seconds, told):
    assert scheduler.duration(seconds) == told
