"""Oracles by world: several of one seed, or of seeds that share their facts, and never another world's."""

import pandas as pd
import pytest
from planted_run import ORACLE_NOISE, World, planted

from unlearnkit.report import ch07_equivalence as equivalence
from unlearnkit.report import ch10_practice as practice
from unlearnkit.report import oracles
from unlearnkit.report.readings import points
from unlearnkit.study import config, plan, profiles

MODEL, SEEDS = "gpt2-tiny-pretrained", 4
BETWEEN = ORACLE_NOISE * 2 * 3.141592653589793**-0.5  # mean |difference| of two draws


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_BUILD", str(folder))
        yield folder


@pytest.fixture(scope="module")
def pairs(build):
    """Each seed has a world of its own, and two oracles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.ORACLES, MODEL, 2)
        return planted(build, World(), "pairs", model=MODEL, seeds_adamw=SEEDS).arms[0]


@pytest.fixture(scope="module")
def shared(build):
    """A request of one's own: all seeds have the same facts, and an oracle each."""
    return planted(build, World(), "shared", model=MODEL, seeds_adamw=SEEDS, forget="Rosa").arms[0]


def told(arm, seed, order=1):
    """NLL of the forget facts under one oracle, from the data file."""
    rows = arm.observations("oracle")
    rows = rows[(rows["seed"] == seed) & (rows["split"] == "forget") & (rows["metric"] == "nll")]
    rows = rows[rows.get("order", pd.Series(1.0, rows.index)).fillna(1) == order]
    return rows.set_index("example")["value"]


def test_a_seed_has_the_oracles_of_its_world(pairs, shared):
    assert pairs.world_of == {seed: seed for seed in range(SEEDS)}
    assert shared.world_of == dict.fromkeys(range(SEEDS), 0)
    for seed in range(SEEDS):
        assert list(oracles.oracle_nll(pairs, seed)) == [(seed, 1), (seed, 2)]
        assert list(oracles.oracle_nll(shared, seed)) == [(other, 1) for other in range(SEEDS)]
        for order in (1, 2):
            own = told(pairs, seed, order)
            assert len(own) == 20
            assert oracles.oracle_nll(pairs, seed)[seed, order].to_dict() == own.to_dict()


def test_the_two_of_a_world_say_how_far_oracles_are_apart(pairs, shared):
    spread = oracles.oracle_spread(pairs).set_index("seed")
    assert list(spread.index) == list(range(SEEDS))
    for seed, row in spread.iterrows():
        apart = told(pairs, seed) - told(pairs, seed, 2)
        assert row["distance"] == pytest.approx(apart.abs().mean())
        assert row["gap"] == pytest.approx(apart.mean())
    assert oracles.oracle_floor(pairs) == pytest.approx(BETWEEN, rel=0.3)
    assert equivalence.oracle_margin(pairs)[0] == oracles.oracle_floor(pairs)
    others = [told(shared, seed) for seed in range(1, SEEDS)]
    first = oracles.oracle_spread(shared).set_index("seed").loc[0]
    assert first["distance"] == pytest.approx((told(shared, 0) - sum(others) / len(others)).abs().mean())


def test_the_distance_of_an_update_is_to_the_mean_of_its_world_s_oracles(pairs):
    table = points(pairs).query("method == 'finetuned'").set_index("seed")
    for seed in range(SEEDS):
        aim = (told(pairs, seed) + told(pairs, seed, 2)).mean() / 2
        assert table.loc[seed, "oracle_gap"] == pytest.approx(table.loc[seed, "forget_nll"] - aim)
        point = oracles.oracle_points(pairs).loc[seed]
        assert point["forget_nll"] == pytest.approx(aim)
    assert equivalence.ORACLE in set(equivalence.equivalence(pairs)["update"])


def test_an_oracle_is_as_far_from_the_other_in_the_table_of_what_is_left(pairs):
    left = practice.left_behind(pairs).query("model == 'oracle'").set_index("seed")
    assert list(left.index) == list(range(SEEDS))  # a row a seed, whatever its number of oracles
    spread = oracles.oracle_spread(pairs).set_index("seed")["distance"]
    assert left["distance"].to_dict() == pytest.approx(spread.to_dict())


def test_settings_come_back_from_the_data_files(pairs, shared):
    """Facts, their order and the never-trained ones, in worlds that have ids in common."""
    (planned,) = plan.arms(profiles.get("quick", {"model": MODEL, "seeds_adamw": SEEDS}))
    assert pairs.settings == planned.settings
    ids = [{e.id: e for e in s.facts} for s in pairs.settings]
    assert any(ids[0][i] != ids[1][i] for i in set(ids[0]) & set(ids[1]))  # Dave's
    (planned,) = plan.arms(profiles.get("quick", {"model": MODEL, "seeds_adamw": SEEDS, "forget": "Rosa"}))
    assert shared.settings == planned.settings
