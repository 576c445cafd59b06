"""Chapter 02: every epoch alone, the contrast against damage, influence before and after."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from planted_run import World, planted

from unlearnkit.report import ch02_first_epoch as chapter
from unlearnkit.report import ch03_influence as influence
from unlearnkit.report import readings
from unlearnkit.report.claim_values import claim_values, thrown_away


@pytest.fixture
def arm(monkeypatch, tmp_path):
    """Four seeds of a world in which the first epoch wins and influence falls to about a quarter."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    return planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=4).arms[0]


@pytest.fixture
def walked(monkeypatch):
    """An arm of two epochs whose seeds start 4, 6 and 10 nats from the oracle; seed 2 lacks epoch 2."""
    rows = [
        ("all", 0, "first_epoch", 3.0), ("all", 0, "epoch_2", 2.5), ("all", 0, "all_epochs", 2.0),
        ("all", 1, "first_epoch", 4.0), ("all", 1, "epoch_2", 4.5), ("all", 1, "all_epochs", 4.0),
        ("all", 2, "first_epoch", 9.0), ("all", 2, "all_epochs", 8.0), ("last2", 0, "first_epoch", 1.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["layers", "seed", "method", "value"])
    wide = table.pivot_table(index="seed", columns=["layers", "method"], values="value", dropna=False)
    begin = pd.DataFrame({"seed": [0, 1, 2], "oracle_distance": [4.0, 6.0, 10.0]})
    monkeypatch.setattr(readings, "by_setting", lambda *_: wide)
    monkeypatch.setattr(readings, "path_table", lambda *_, **__: begin)
    return SimpleNamespace(recipe={"epochs": 2}), wide


def test_changes_are_taken_from_each_seeds_own_start_over_the_same_seeds(walked):
    arm, _ = walked
    found = chapter.by_epoch(arm).set_index("epoch")
    assert found["change"].to_dict() == pytest.approx({"1": -1.5, "2": -1.5, "all": -2.0})
    assert set(found["n"]) == {2}
    reach = 12.706 * np.sqrt(0.5) / np.sqrt(2)  # t of one degree of freedom; the changes are -1 and -2
    assert found.loc["1", ["ci_low", "ci_high"]].tolist() == pytest.approx(
        [-1.5 - reach, -1.5 + reach], abs=1e-3
    )


def test_one_seed_has_changes_without_an_interval(walked):
    arm, wide = walked
    wide.loc[1] = np.nan
    found = chapter.by_epoch(arm)
    assert found["change"].tolist() == pytest.approx([-1.0, -1.5, -2.0])
    assert set(found["n"]) == {1}
    assert found["ci_low"].isna().all()


def test_prices_are_the_claims_and_shares_of_all_that_was_taught(arm):
    table = chapter.prices(arm).pivot_table(index="seed", columns="method", values="cost")
    claimed = claim_values(arm)
    assert table["first_epoch"].to_dict() == pytest.approx(claimed["C0"].to_dict())
    difference = table["all_epochs"] - table["first_epoch"]
    assert difference.to_dict() == pytest.approx(claimed["C1"].to_dict())
    shares = chapter.prices(arm).query("method == 'random_direction'").set_index("seed")["share"]
    assert shares.to_dict() == {seed: 1.0 for seed in arm.seeds}  # it never forgets
    lost = thrown_away(arm)["damage"]
    first = chapter.prices(arm).query("method == 'first_epoch'").set_index("seed")
    assert (first["share"] * lost).to_dict() == pytest.approx(first["cost"].to_dict())
    assert (first["closest"] <= first["distance"] + 1e-12).all()


def test_the_costs_by_arm_are_the_means_of_its_prices(arm):
    table = chapter.by_arm(arm.run)
    assert list(table.columns) == list(chapter.MAIN)
    costs = chapter.prices(arm).groupby("method")["cost"].mean().reindex(chapter.MAIN)
    assert table.loc["gpt2-tiny, AdamW"].tolist() == pytest.approx(costs.tolist(), nan_ok=True)
    assert chapter.by_arm(arm.run, "no such layers").isna().all(axis=None)


def layers_of(monkeypatch, **rows):
    """`by_layers` of these arms, each of four seeds."""
    columns = ["first", "all", "embedding", "reached", "there", "there_all"]
    told = pd.DataFrame.from_dict(rows, orient="index", columns=columns).assign(seeds=4)
    monkeypatch.setattr(chapter, "by_layers", lambda run: told)
    return SimpleNamespace(arms=[SimpleNamespace(name="big"), SimpleNamespace(name="small")])


@pytest.mark.parametrize(
    ("big", "small", "differ"),
    [
        ((1.5, 0.2, 1.0, 3, 0.2, 0.2), (2.0, 1.2, 0.4, 4, 0.4, 1.2), True),
        ((1.5, 0.2, 1.0, 3, 0.6, 0.2), (2.0, 1.2, 0.4, 4, 0.4, 1.2), False),  # dearer where it gets there
        ((1.5, 0.2, 0.2, 4, 0.2, 0.2), (2.0, 1.2, 0.4, 4, 0.4, 1.2), False),  # every seed forgets
        ((1.5, 0.2, 1.0, 3, 0.2, 0.2), (2.0, 0.3, 0.4, 4, 0.4, 0.3), False),  # all layers are cheaper
    ],
)
def test_adamw_belongs_on_other_layers_of_a_small_model(monkeypatch, big, small, differ):
    run = layers_of(monkeypatch, big=big, small=small)
    assert chapter.layers_differ(run) == differ


def test_adamw_saves_less_elsewhere_where_its_share_of_the_price_is_larger(monkeypatch):
    big = (1.5, 0.2, 1.0, 3, 0.2, 0.2)
    assert chapter.saves_less(layers_of(monkeypatch, big=big, small=(2.0, 1.2, 0.4, 4, 0.4, 1.2)))
    assert not chapter.saves_less(layers_of(monkeypatch, big=big, small=(2.0, 0.1, 0.4, 4, 0.4, 0.1)))


def test_an_arm_that_walks_no_embedding_says_nothing_of_its_layers(arm):
    run = SimpleNamespace(arms=[arm])
    told = chapter.by_layers(run)
    assert chapter.layers_differ(run) or len(told)


def test_cheaper_is_the_first_epochs_price_less_the_others(arm):
    table = chapter.cheaper(arm).set_index("against")
    assert table.loc["all_epochs", "difference"] == pytest.approx(-claim_values(arm)["C1"].mean())
    assert "first_epoch" not in table.index
    assert not len(chapter.cheaper(arm, layers="no such layers"))


def test_the_contrast_against_damage_is_the_claims_at_the_reading_point(arm):
    table = chapter.by_damage(arm)
    here = table[table["damage"] == arm.run.damage].set_index("seed")["difference"]
    claimed = claim_values(arm, "damage")["C1"]
    assert here.to_dict() == pytest.approx(claimed.to_dict())
    assert set(table.groupby("damage").size()) == {4}  # a damage that some seed never reaches is left out


def test_influence_is_tested_over_facts_and_over_seeds(arm):
    tests = influence.paired_tests(arm).set_index(["metric", "unit"])
    facts, seeds = (tests.loc["influence_activation", unit] for unit in influence.UNITS)
    assert (facts["n"], seeds["n"]) == (20, 4)
    assert seeds["change"] == pytest.approx(seeds["after"] - seeds["before"])
    assert seeds["after"] / seeds["before"] == pytest.approx(0.25, rel=0.1)  # planted
    assert seeds["ci_high"] < 0
    assert seeds["p"] < seeds["p_holm"] < 0.05  # two scores were observed
