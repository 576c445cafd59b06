"""Other data, from planted rows: what methods cost, and what becomes of what training did not teach."""

from types import SimpleNamespace

import pandas as pd
import pytest

from unlearnkit.report import ch12_other_data as chapter
from unlearnkit.study import diverse

FORMER = {"pretrained": 1.0, "noop": 5.0, "oracle": 1.5, "npo": 4.0}  # NLL of the true answers
FACTS = {"noop": 0.5, "oracle": 4.0, "npo": 4.3}
OTHERS = {"noop": 0.4, "oracle": 0.4, "npo": 1.1}


class PlantedArm:
    """Two seeds of facts taught falsely."""

    variant = diverse.FALSE

    def __init__(self):
        self.run = SimpleNamespace(variants={self.variant: self})

    def observations(self, stage):
        names = ("oracle",) if stage == "verified_oracles" else ("noop", "npo")
        rows = [row for seed in (0, 1) for name in names for row in self.rows(seed, name)]
        columns = ["seed", "method", "split", "metric", "value", "example", "reached"]
        return pd.DataFrame(rows, columns=columns).assign(order=1)

    def rows(self, seed, name):
        def row(split, value, example="", metric="nll"):
            return (seed, name, split, metric, value, example or split, name == "npo")

        yield from (row("forget", FACTS[name], f"f{k}") for k in range(3))
        yield row("retain", OTHERS[name])
        yield row("utility", 3.0 + OTHERS[name])
        yield row("former", FORMER[name], metric="nll_known")
        yield row("former at first", FORMER["pretrained"], metric="nll_known")


@pytest.fixture(scope="module")
def arm():
    return PlantedArm()


def test_prices_and_distances_are_the_planted_ones(arm):
    assert chapter.of_run(arm.run) == [arm]
    (row,) = chapter.prices([arm]).to_dict("records")
    assert (row["data"], row["method"], row["forgets on the mean in"]) == (diverse.FALSE, "NPO", "2 of 2")
    told = [float(row[name].split()[0]) for name in ("others lose", "D_F", "text rises")]
    assert told == pytest.approx([0.7, 0.3, 0.7])


def test_former_answers_are_told_from_before_training_to_after_each_method(arm):
    table = chapter.watched([arm])
    assert list(table["method"]) == ["before training", "nothing done", "oracle", "NPO"]
    assert set(table["watched"]) == {"former"}
    told = [float(nll.split()[0]) for nll in table["NLL"]]
    assert told == [FORMER[name] for name in ("pretrained", "noop", "oracle", "npo")]


def test_a_run_without_has_no_tables():
    assert chapter.of_run(SimpleNamespace(variants={})) == []
    assert not len(chapter.prices([]))
    assert not len(chapter.watched([]))
