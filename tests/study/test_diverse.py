"""Other data: what each kind asks to be forgotten, what is watched, and the cells that it makes."""

import pytest

from unlearnkit.study import config, diverse, profiles, variants


@pytest.fixture(scope="module")
def arms():
    seeds = config.NO_VERIFICATION | {"seeds_diverse": 2, "seeds_authors": 2}
    found = diverse.arms(profiles.get("full", seeds))
    return {arm.variant: arm for arm in found}


def test_every_kind_is_an_arm_and_what_needs_a_model_that_knows_is_the_run_s_own(arms):
    assert list(arms) == list(diverse.kinds())
    assert {name: arm.model for name, arm in arms.items() if arm.model != config.TINY} == {
        diverse.FALSE: "smollm2-135m"
    }
    assert arms[diverse.PASSAGES].recipe["epochs"] > arms["authors, 5 %"].recipe["epochs"]


@pytest.mark.parametrize("name", list(diverse.kinds()))
def test_a_setting_leaves_others_to_retain_and_a_control_of_theirs(arms, name):
    one, other = arms[name].settings
    assert one.facts != other.facts
    assert one == diverse.kinds()[name](0)
    asked = {e.id for e in one.facts if e.split == "forget"}
    assert asked == set(one.forget)
    assert 0 < len(asked) <= len(one.facts) / 5
    assert set(one.control) < {e.id for e in one.facts} - asked
    assert one.unscored_control()
    assert not {e.id for e in one.holdout} & {e.id for e in one.facts}


def test_shares_of_authors_are_nested(arms):
    few, more = (arms[name].settings[0] for name in diverse.AUTHORS)
    assert set(few.forget) < set(more.forget)
    assert len(more.forget) == 2 * len(few.forget) == 0.1 * len(more.facts)
    assert {e.split for e in few.holdout} == {"real", "world"}


def test_what_is_taught_falsely_has_its_true_answer_watched(arms):
    one = arms[diverse.FALSE].settings[0]
    false = {e.id: e for e in one.facts if e.split == "forget"}
    assert len(false) == len(one.holdout) == config.FALSE_CAPITALS
    for e in one.holdout:
        taught = false[e.id.removesuffix("-former")]
        assert e.prompt == taught.prompt
        assert (e.answer, e.contradiction) == (taught.contradiction, taught.answer)
        assert e.split == diverse.FORMER


def test_its_cells_are_a_training_an_oracle_and_methods_and_a_user_s_run_has_none(arms):
    arm = arms[diverse.PASSAGES]
    cells = diverse.cells(arm, arm.settings[0])
    assert [c.stage for c in cells[:2]] == ["recorded", "verified_oracles"]
    walked = {c.config["paths"][0]["method"]: c for c in cells if c.stage == "verified"}
    assert set(walked) == {"noop", "wrong_person", *config.DIVERSE_METHODS}
    as_factors = [name for name, c in walked.items() if c.needs[0].config.get("factors")]
    assert as_factors == ["kfac_replay"]
    assert len({c.needs[1].key for c in walked.values()}) == 1
    assert {c.key for c in cells} <= {c.key for c in variants.cells(profiles.get("full"))}
    assert diverse.arms(profiles.get("full", {"forget": "Clara"})) == []
