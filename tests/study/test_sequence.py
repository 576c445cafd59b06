"""Requests in sequence: who is asked for, what is scored, and that no method sees it."""

import pytest

from unlearnkit import data
from unlearnkit.study import config, plan, profiles, sequence, variants
from unlearnkit.study.plan import Arm

MOST = config.SEQUENCE_COUNTS[-1]


@pytest.fixture(scope="module")
def arm():
    recipe = plan.recipe(config.TINY, "adamw")
    settings = tuple(map(sequence.setting, range(3)))
    return Arm(config.TINY, "adamw", recipe, settings, False, sequence.SEQUENCE)


def test_a_larger_world_has_more_persons_and_the_same_target():
    for seed in range(3):
        facts = data.world(seed, beside=config.SEQUENCE_PERSONS - 2)
        assert len(data.persons(facts)) == config.SEQUENCE_PERSONS
        assert len({e.id for e in facts}) == len(facts)
        assert len({(e.attribute, e.answer) for e in facts}) == len(facts)  # nobody shares an answer
    assert plan.built_in(2).target == sequence.setting(2).target
    assert data.world(0) == data.dave()


def test_each_person_is_asked_for_once_the_target_first(arm):
    for setting in arm.settings:
        names = [name for name, _ in setting.requests]
        assert names[0] == setting.target
        assert sorted(names) == sorted(data.persons(list(setting.facts)))
        assert dict(setting.requests)[setting.target] == setting.forget


def test_what_is_scored_is_nobody_s_who_is_asked_for_and_no_method_sees_it(arm):
    for setting in arm.settings:
        asked = {i for _, ids in setting.requests[:MOST] for i in ids}
        for cell in sequence.cells(arm, setting):
            scored = set(cell.config["retain"])
            assert len(scored) > config.RETAIN_FACTS
            assert not scored & {*asked, *cell.config["record"], *cell.config["control"]}
            assert asked <= set(cell.config["record"])
            assert cell.config["control"]


def test_an_oracle_lacks_the_first_so_many(arm):
    found = [c for c in sequence.cells(arm, arm.settings[0]) if c.stage == "sequence_oracle"]
    assert [len(c.config["forget"]) for c in found] == [20 * count for count in config.SEQUENCE_COUNTS]
    assert [c.config["asked"] for c in found] == list(config.SEQUENCE_COUNTS)


def test_every_method_is_walked_in_every_mode(arm):
    cells = [c for c in sequence.cells(arm, arm.settings[0]) if c.stage == "sequence"]
    told = {(c.config["paths"][0]["method"], c.config["mode"]) for c in cells}
    assert told == {(m, mode) for m in config.SEQUENCE_METHODS for mode in sequence.MODES}
    assert all(("further" in c.config) == (c.config["mode"] == "interleaved") for c in cells)


def test_the_full_profile_has_them():
    assert sequence.SEQUENCE in {a.variant for a in variants.arms(profiles.get("full"))}
