"""Chapter 05, order of stages: ranges over the orders, in a world whose truth is known."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from planted_run import DISPLACEMENT, World, standing

from unlearnkit.report import ch05_stages as stages
from unlearnkit.report import claim_values
from unlearnkit.study import config
from unlearnkit.study.variants import ORDERS

SEEDS = 5
DEARNESS = {"recomputed": 0.4}
ENDS = {"first_epoch": config.VARIANT_STEPS[-1], "recomputed": config.REPEATED_STEPS[-1]}


@dataclass(frozen=True)
class Staged(World):
    def direction(self, method: str, layers: str) -> tuple[float, float, float]:
        """Fresh gradients cost four times as much as stored ones."""
        return 1.0, DEARNESS.get(method, 0.1), 0.0


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    with standing(tmp_path_factory, Staged(), seeds_adamw=1, seeds_stages=SEEDS) as run:
        yield stages.of_run(run)


def outcomes(**by_method):
    """A row for every order's outcome, by method a list for each seed."""
    rows = [
        (order, seed, method, value, True)
        for method, seeds in by_method.items()
        for seed, values in enumerate(seeds)
        for order, value in zip(ORDERS, values, strict=False)
    ]
    return pd.DataFrame(rows, columns=["order", "seed", "method", "pays", "reached"])


def test_each_order_is_an_arm_with_the_same_worlds(arms):
    assert list(arms) == ["first", "spread", "last"]
    for order, arm in arms.items():
        assert arm.variant == ORDERS[order]
        for setting in arm.settings:
            assert dict(setting.recipe) == {"order": order, "staged": list(setting.forget)}
    first, last = arms["first"], arms["last"]
    assert [s.facts for s in first.settings] == [s.facts for s in last.settings]


def test_the_range_is_that_over_all_orders():
    found = outcomes(first_epoch=[(0.1, 0.2, 0.4), (1.0, 1.0, 1.0)], recomputed=[(0.5, 2.5, 1.0), (3, 2, 1)])
    wide = stages.ranges(found)
    assert wide["first_epoch"].tolist() == pytest.approx([0.3, 0.0])
    assert wide["recomputed"].tolist() == pytest.approx([2.0, 2.0])
    assert stages.contrasts(found)["V2a"].tolist() == pytest.approx([1.7, 2.0])
    assert "V2b" not in stages.contrasts(found)
    partly = pd.concat([found, outcomes(first_epoch=[(), (), (0.1, 0.2)], recomputed=[(), (), (1, 2)])])
    assert stages.ranges(partly).index.tolist() == [0, 1]  # a seed that lacks an order has no range


def test_outcomes_are_read_at_matched_forgetting_and_at_much_damage(arms):
    found = stages.outcomes(arms)
    assert len(found) == 3 * SEEDS * len(stages.METHODS)
    world, means = Staged(), found.groupby("method")[["pays", "distance"]].mean()
    a, s = world.learned(world.own, 0.2)[0], world.learned(world.shared, 1.0)[0]
    for method, end in ENDS.items():  # fresh gradients end before they have forgotten, or cost 0.5 nats
        dear, longest = DEARNESS.get(method, 0.1), end * DISPLACEMENT
        far = min((((1 - s) ** 2 + 2 * 0.5 / world.shared) ** 0.5 - (1 - s)) / dear, longest)
        nll = world.own * (1 - a + far) ** 2 / 2 + world.shared * (1 - s + dear * far) ** 2 / 2
        distance = abs(nll - world.own / 2 - world.shared * (1 - s) ** 2 / 2)
        assert means.loc[method, "distance"] == pytest.approx(distance, rel=0.1), method
        paid = world.shared * ((1 - s + dear * a) ** 2 - (1 - s) ** 2) / 2
        if a > longest:  # never forgotten: no dearer than to throw the training away
            paid = np.mean([claim_values.thrown_away(arm)["damage"].mean() for arm in arms.values()])
        assert means.loc[method, "pays"] == pytest.approx(paid, rel=0.15), method
    assert not found.query("method == 'recomputed'")["reached"].any()
    assert found.query("method != 'recomputed'")["reached"].all()


def test_no_dependence_is_told_as_such(arms):
    """In this world the order does nothing: ranges are the oracles' noise, and no claim holds."""
    assert stages.ranges(stages.outcomes(arms)).to_numpy().max() < 0.1
    assert set(stages.answers(arms)["so?"]) == {"no"}


def test_an_order_can_be_left_out(monkeypatch):
    found = outcomes(first_epoch=[(0.1, 0.2, 0.4), (0.0, 1.0, 1.5)], recomputed=[(0.5, 2.5, 2.0), (3, 2, 1)])
    monkeypatch.setattr(stages, "outcomes", lambda arms: found)
    table = stages.by_orders({})
    assert table["claim"].tolist() == ["V2a"]
    every, late = (float(table.iloc[0, k].split()[0]) for k in (2, 3))
    assert (every, late) == pytest.approx(((1.7 + 0.5) / 2, (0.3 + 0.5) / 2), abs=0.006)


def test_table_and_figure_show_every_method(arms):
    table = stages.stage_table(arms)
    assert len(table) == len(stages.METHODS)
    words = list(stages.WORDS.values())
    assert list(stages.WORDS) == list(ORDERS)
    assert table.columns.tolist()[:4] == ["update", *words]
    assert stages.starts(arms).iloc[:, 0].tolist() == words
    drawn = stages.figure(arms)
    assert len(drawn.axes) == len(stages.METHODS)
    plt.close(drawn)
