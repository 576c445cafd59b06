"""Which cells verify: who is in a world of coins, what a population shares, and what no method may see."""

import pytest

from unlearnkit import study
from unlearnkit.claims.methods import PRINCIPAL
from unlearnkit.claims.verification import MODELS
from unlearnkit.errors import DivergenceError
from unlearnkit.study import collect, config, diverse, plan, profiles, variants, verified
from unlearnkit.study.cells import Tidy
from unlearnkit.study.experiments import examine, measure
from unlearnkit.study.experiments.examine import TESTS, Examined

SEEDS = {"seeds_verified": 2, "seeds_verified_main": 1, "seeds_audit": 2, "seeds_klom": 1}
SEEDS |= {"seeds_further": 1}
FURTHER = (verified.IMITATOR, verified.ADVISED)
FEW = config.NO_COMPANION | config.NO_COMPARISON | config.NO_VARIANT | {"seeds_sgd": 0, "seeds_adamw": 1}


def method(cell):
    return cell.config["paths"][0]["label"]


@pytest.fixture(scope="module")
def profile():
    return profiles.get("full", FEW | {"seeds_tiny_adamw": 2} | SEEDS)


@pytest.fixture(scope="module")
def cells(profile):
    beside = [c for a in verified.arms(profile) for s in a.settings for c in verified.cells_beside(a, s)]
    return [*verified.cells(profile), *beside]


def test_each_world_has_the_methods_and_the_controls_that_must_fail(cells):
    walked = [(c.arm, c.seed, method(c)) for c in cells if c.stage == "verified"]
    main, tiny = "smollm2-135m, AdamW", f"{config.TINY}, AdamW"
    assert {m for a, s, m in walked if (a, s) == (main, 0)} == {*verified.CONTROLS, *config.VERIFIED_MAIN}
    for seed, more in enumerate([FURTHER, ()]):
        assert {m for a, s, m in walked if (a, s) == (tiny, seed)} == {*verified.CONTROLS, *PRINCIPAL, *more}
    assert len(walked) == len(set(walked))
    assert not {s for a, s, _ in walked if a == main} - {0}


def test_each_world_has_three_oracles_in_orders_of_no_seed(cells):
    arm = f"{config.TINY}, AdamW"
    first, third = (c for c in cells if (c.stage, c.arm, c.seed) == ("verified_oracles", arm, 1))
    orders = [*first.config["orders"], *third.config["orders"]]
    assert orders == [1, 1 + config.MOST_SEEDS, 1 + 2 * config.MOST_SEEDS]
    assert third.config["after"] == 2
    assert third.needs[-1] == first


def test_they_change_no_cell_of_the_study(profile):
    without = profiles.get("full", profile.overrides | config.NO_VERIFICATION)
    old = [(c.key, c.title) for c in study.cells_of(without)]
    now = [(c.key, c.title) for c in study.cells_of(profile)]
    assert [cell for cell in now if cell in set(old)] == old
    assert len({title for _, title in now}) == len({key for key, _ in now}) == len(now)


def test_a_training_that_the_comparison_has_is_not_made_twice(profile):
    both = profiles.get("full", profile.overrides | {"seeds_methods": 2})
    recorded = [c for c in study.cells_of(both) if c.stage == "recorded" and c.arm == f"{config.TINY}, AdamW"]
    assert [c.seed for c in recorded] == [0, 1]


def test_no_method_sees_a_fact_that_is_scored_as_retained(cells):
    for cell in cells:
        scored = set(cell.config["retain"])
        assert scored
        assert not scored & {*cell.config["record"], *cell.config["control"], *cell.config["forget"]}
        assert set(cell.config["forget"]) <= set(cell.config["record"])


def test_the_tests_are_those_that_are_made_and_their_numbers_are_collected(cells):
    assert {*verified.TESTS, "coins", *diverse.TESTS} == set(TESTS)
    assert set(verified.METRICS) <= set(collect.METRICS)
    assert {c.config["paths"][0]["label"] for c in cells if c.stage == "verified"} <= {
        *PRINCIPAL,
        *verified.CONTROLS,
        *FURTHER,
    }


def test_an_optimizer_s_steps_are_all_looked_at():
    assert verified.steps_of("npo") == tuple(range(1, config.COMPARED_TRAINED_STEPS[-1] + 1))
    assert verified.steps_of("first_epoch") == config.COMPARED_STEPS
    assert verified.steps_of("rewind") == (1,)
    assert verified.steps_of("noop") == ()


@pytest.mark.parametrize("seed", range(3))
def test_a_coin_tells_who_is_trained_on_and_nothing_else_does(seed):
    setting = verified.drawn(seed)
    heads = {e.person for e in setting.facts if e.id in set(setting.forget)}
    tails = {e.person for e in setting.holdout}
    assert not heads & tails
    assert len(heads) + len(tails) == config.COIN_PERSONS
    assert 5 <= len(heads) <= config.COIN_PERSONS - 5
    told = [e for e in (*setting.facts, *setting.holdout) if e.person in heads | tails]
    assert len(told) == config.COIN_PERSONS * config.COIN_FACTS
    assert len({e.answer for e in told}) == len(told)
    assert {e.split for e in setting.facts if e.person in heads} == {"forget"}
    target = next(e.person for e in plan.built_in(seed).facts if e.split == "forget")
    assert target not in {e.person for e in setting.facts}


def test_coins_differ_from_seed_to_seed():
    assert len({frozenset(verified.drawn(s).forget) for s in range(5)}) == 5


def test_a_population_is_one_world_in_many_orders_that_no_seed_has(profile):
    (arm,) = (a for a in verified.arms(profile) if a.variant.startswith(verified.POPULATION))
    assert len(arm.settings) == config.POPULATION + config.IN_PLACE
    assert config.POPULATION == 2 * config.IN_PLACE == 2 * MODELS
    assert {s.facts for s in arm.settings} == {plan.built_in(0).facts}
    assert min(arm.seeds) > max(s for a in plan.arms(profiles.get("full")) for s in a.seeds)
    cells = [verified.cells_beside(arm, s) for s in arm.settings]
    assert [len(found) for found in cells] == [14] * MODELS + [1] * 2 * MODELS
    assert len({found[-1].key for found in cells}) == 3 * MODELS
    assert all(c.config["keeps"] == "" for found in cells for c in found if c.stage == "verified_oracles")


def test_their_arms_are_told_to_the_report(profile):
    names = {a.variant for a in variants.arms(profile)}
    assert {verified.COINS, f"{verified.POPULATION} 0"} <= names


def test_weights_of_oracles_and_ledgers_are_deleted_after_their_last_reader(profile):
    steps = study.steps(profile, fresh=True)
    world = [s for s in steps if s.chain == f"{config.TINY}, AdamW, seed 1"]
    oracles = next(s for s in world if getattr(s, "stage", "") == "verified_oracles")
    last = max(k for k, s in enumerate(world) if getattr(s, "stage", "") == "verified")
    tidied = [s for s in world[last + 1 :] if isinstance(s, Tidy)]
    assert oracles.folder in {s.owner.folder for s in tidied}
    assert len(tidied) == 2
    assert all(len(s.readers) >= 12 for s in tidied)


def test_a_user_s_own_facts_have_none(tmp_path):
    own = profiles.get("full", FEW | SEEDS | {"forget": "Clara"})
    assert verified.cells(own) == verified.arms(own) == []


def test_where_every_test_diverges_there_are_no_rows(monkeypatch):
    def diverges(_):
        raise DivergenceError("not finite")

    monkeypatch.setattr(examine, "TESTS", dict.fromkeys(("facts", "lens"), diverges))
    one = Examined(None, None, None, {"tests": ["facts", "lens"]}, None, None)
    assert list(one.rows()) == measure.COLUMNS
    assert one.rows().empty
