"""Readings off a compared path, on paths whose truth is written down here."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit.claims.methods import NEAR
from unlearnkit.study.compared import Path, World

FORGET, RETAIN = ("f0", "f1"), ("r0", "r1", "n0")
COLUMNS = ["example", "split", "metric", "value"]


@pytest.fixture
def world():
    """Forget facts known (NLL 0), 4 and 6 to the oracles; retain facts from 5 to 0, one a neighbour."""
    rows = []
    for epoch, forget, retain in ((0, 7.0, 5.0), (8, 0.0, 0.0)):
        rows += [(i, "forget", "nll", forget, epoch) for i in FORGET]
        rows += [(i, "neighbour" if i == "n0" else "retain", "nll", retain, epoch) for i in RETAIN]
        rows.append(("", "utility", "nll", 3.0, epoch))
    trained = pd.DataFrame(rows, columns=[*COLUMNS, "epoch"])
    return World(trained, pd.Series({"f0": 4.0, "f1": 6.0}), RETAIN, control=("r0",))


def walked(*steps, bystander=None):
    """Rows of a path: (place, NLL of the two forget facts, of the retain facts)."""
    rows = []
    for place, forget, retain in steps:
        rows += [(i, "forget", "nll", v, place) for i, v in zip(FORGET, forget, strict=True)]
        rows += [
            ("retain", "retain", "nll", retain, place),
            ("neighbour", "neighbour", "nll", 2 * retain, place),
        ]
        rows.append(("bystander", "bystander", "nll", retain / 2, place))
    rows += [
        ("", "utility", "nll", 3.5, steps[-1][0]),
        ("paraphrase", "paraphrase", "nll", 4.0, steps[-1][0]),
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "place"]).assign(seconds=2.0)


def test_a_line_is_read_where_its_mean_first_is_the_oracles(world):
    """From 0 to 10 the mean goes from 0 to 10, through 5 half-way, where f0 is at 5 and f1, too."""
    path = Path("first_epoch", walked((10.0, (10.0, 10.0), 4.0)), world)
    found = path.read("forgetting")
    assert found["place"] == pytest.approx(5.0)
    assert found["reached"]
    assert found["price"] == found["damage"] == pytest.approx(2.0)
    assert found["neighbour_damage"] == pytest.approx(4.0)
    assert found["bystander_damage"] == pytest.approx(1.0)
    assert found["distance"] == pytest.approx(1.0)  # |5 - 4| and |5 - 6|
    assert found["utility_rise"] == pytest.approx(0.25)
    assert found["paraphrase_nll"] == pytest.approx(4.0)
    assert found["seconds"] == 2.0  # the direction, once


def test_seconds_are_those_of_the_steps_that_one_has_to_take(world):
    """Looked at: the first step, a third of the way to it, and the third; it is taken whole for either."""
    path = Path("rmu", walked((1, (9.0, 9.0), 3.0), (1 / 3, (3.0, 3.0), 1.0), (3, (9.0, 9.0), 4.0)), world)
    assert path.steps["seconds"].to_dict() == {0: 0.0, 1 / 3: 2.0, 1: 2.0, 3: 4.0}
    found = path.read("forgetting")
    assert found["place"] == pytest.approx(5 / 9)
    assert found["price"] == pytest.approx(5 / 3)
    assert found["seconds"] == 2.0


def test_the_other_readings(world):
    path = Path("first_epoch", walked((10.0, (8.0, 12.0), 4.0)), world)  # both meet their oracles half-way
    near = path.read("closest")
    assert (near["place"], near["reached"]) == (pytest.approx(5.0), True)
    assert near["distance"] == pytest.approx(0.0, abs=1e-9)
    lost = path.read("damage", 1.0)
    assert (lost["place"], lost["reached"]) == (pytest.approx(2.5), True)
    assert lost["distance"] == pytest.approx(2.5)
    assert np.isnan(lost["price"])


def test_a_path_that_never_gets_there_pays_all_that_was_taught(world):
    path = Path("npo", walked((1, (1.0, 1.0), 0.1), (2, (1.0, 2.0), 0.3)), world)
    found = path.read("forgetting")
    assert not found["reached"]
    assert found["price"] == world.thrown_away == 5.0
    assert found["place"] == 2  # where it costs most
    assert not path.read("damage", 0.5)["reached"]


def test_none_pays_more_than_that(world):
    assert Path("npo", walked((1, (9.0, 9.0), 30.0)), world).read("forgetting")["price"] == 5.0


def test_a_method_of_one_place_is_read_there(world):
    """A prompt is no longer a way than none, and half-way to it is no place."""
    enough, short = 5.0 - NEAR / 2, 5.0 - 2 * NEAR
    for level, reached in ((enough, True), (short, False)):
        path = Path("prompt_guard", walked((0.0, (level, level), 1.5)), world)
        found = path.read("forgetting")
        assert found["reached"] is reached
        assert found["price"] == pytest.approx(1.5 if reached else 5.0)
        assert found["damage"] == pytest.approx(1.5)
        assert path.read("closest")["distance"] == pytest.approx(1.0)
        assert np.isnan(path.read("damage", 0.5)["damage"])


def test_a_path_that_diverged_at_once_has_no_step(world):
    none = walked((1, (9.0, 9.0), 1.0)).iloc[:0]
    for name in ("npo", "certified_removal"):
        found = Path(name, none, world).read("forgetting")
        assert not found["reached"]
        assert found["price"] == 5.0
        assert Path(name, none, world).read("closest")["distance"] == pytest.approx(5.0)  # theta_T's
