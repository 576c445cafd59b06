"""Chapter 02: every epoch alone, the contrast against damage, influence before and after."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from planted_run import World, planted

from unlearnkit.report import ch02_first_epoch as chapter
from unlearnkit.report import contrasts, readings


@pytest.fixture
def arm(monkeypatch, tmp_path):
    """Four seeds of a world in which the first epoch wins and influence falls to about a quarter."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    yield planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=4).arms[0]
    plt.close("all")


def test_changes_are_taken_from_each_seeds_own_start_over_the_same_seeds(monkeypatch):
    """Seed 1 lacks epoch 2, so that only seed 0 counts."""
    rows = [
        ("all", 0, "first_epoch", 3.0), ("all", 0, "epoch_2", 2.5), ("all", 0, "all_epochs", 2.0),
        ("all", 1, "first_epoch", 9.0), ("all", 1, "all_epochs", 8.0), ("last2", 0, "first_epoch", 1.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["layers", "seed", "method", "value"])
    wide = table.pivot_table(index="seed", columns=["layers", "method"], values="value", dropna=False)
    begin = pd.DataFrame({"seed": [0, 1], "oracle_distance": [4.0, 10.0]})
    monkeypatch.setattr(readings, "by_setting", lambda *_: wide)
    monkeypatch.setattr(readings, "path_table", lambda *_, **__: begin)
    found = chapter.by_epoch(SimpleNamespace(recipe={"epochs": 2}))
    assert found["epoch"].tolist() == ["1", "2", "all"]
    assert found["change"].tolist() == pytest.approx([-1.0, -1.5, -2.0])
    assert set(found["n"]) == {1}
    assert found["ci_low"].isna().all()


def test_the_contrast_against_damage_is_the_claims_at_the_reading_point(arm):
    table = chapter.by_damage(arm)
    here = table[table["damage"] == arm.run.damage].set_index("seed")["difference"]
    claimed = contrasts.claim_values(arm)["C1"]
    assert here.to_dict() == pytest.approx(claimed.to_dict())
    assert set(table.groupby("damage").size()) == {4}  # a damage that some seed never reaches is left out
    assert chapter.contrast_by_damage([arm], arm.run.damage).axes[0].lines


def test_influence_is_tested_over_facts_and_over_seeds(arm):
    tests = chapter.influence_tests(arm).set_index(["metric", "unit"])
    facts, seeds = (tests.loc["influence_activation", unit] for unit in chapter.UNITS)
    assert (facts["n"], seeds["n"]) == (20, 4)
    assert seeds["change"] == pytest.approx(seeds["after"] - seeds["before"])
    assert seeds["after"] / seeds["before"] == pytest.approx(0.25, rel=0.1)  # planted
    assert seeds["ci_high"] < 0
    assert seeds["p"] < seeds["p_holm"] < 0.05  # two scores were observed
    assert len(chapter.influence(arm)) == len(tests)


def test_tables_have_a_row_an_update_and_a_row_a_seed(arm):
    assert chapter.matched(arm)["update"].iloc[0] == "first epoch's gradients"
    assert len(chapter.matched(arm)) == 4
    assert chapter.turning_points(arm)["seed"].tolist() == [0, 1, 2, 3]


def test_a_step_along_a_persons_own_gradient_hits_that_person(arm):
    aimed = chapter.aim(arm)
    assert aimed.loc["first_epoch", "rise"] > aimed.loc["first_epoch", "bystander_damage"]
    assert len(set(aimed["share"])) == 1
