"""The ranking, the rule of the advice, what is left behind and what it costs, in worlds of known truth."""

import numpy as np
import pandas as pd
import pytest
from planted_run import PARAPHRASE, World, standing

from unlearnkit.report import Run
from unlearnkit.report import ch10_practice as practice
from unlearnkit.report.readings import path_table

SEEDS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=SEEDS) as run:
        yield run


@pytest.fixture
def arm(run):
    return run.arms[0]


@pytest.fixture
def readings(arm, monkeypatch):
    """Ranks settings whose costs by seed a test gives; the best control's are 3 nats."""

    def rank(**costs):
        told = {"wrong_person": [3.0] * SEEDS, "random_direction": [3.5] * SEEDS, **costs}
        rows = [
            {"seed": s, "layers": "all", "method": m, "reached": True, "oracle_distance": 0.2, "cost": c}
            for m, values in told.items()
            for s, c in zip(arm.seeds, values, strict=False)
        ]
        table = pd.DataFrame(rows)
        by_path = table.set_index("seed").groupby(["layers", "method"])["cost"]
        monkeypatch.setattr(practice, "reading", lambda *_: table)
        monkeypatch.setattr(practice, "cost", lambda _, path: by_path.get_group(path))
        return practice.ranked.__wrapped__(arm)

    return rank


def test_ranking_puts_the_planted_best_first_and_counts_controls_apart(arm):
    table = practice.ranked(arm)
    own = table[~table["control"]]
    cheapest = own[np.isclose(own["cost"], own["cost"].min(), atol=0.01)]
    assert ("all", "first_epoch") in set(zip(cheapest["layers"], cheapest["method"], strict=True))
    assert own.iloc[0]["wins"] == SEEDS
    assert own["cost"].is_monotonic_increasing
    assert set(table.loc[table["control"], "method"]) == set(practice.CONTROLS)
    assert own["p_holm"].notna().any()  # none where all pay alike
    assert practice.advised(arm) == tuple(own.iloc[0][["layers", "method"]])
    assert list(table["advised"]).count(True) == 1
    assert table["setting"].is_unique
    walked = path_table(arm, None, None)
    for column in ("method", "layers"):  # nobody would use what layer selections are held against
        assert set(walked[column]) & set(practice.LAYER_CONTROLS)
        assert not set(table[column]) & set(practice.LAYER_CONTROLS)


def test_the_larger_effect_is_advised_and_not_the_smaller_p(readings):
    table = readings(first_epoch=[2.5, 2.5, 2.5, 2.49], all_epochs=[1.0, 2.0, 1.5, 2.5]).set_index("method")
    assert table.loc["first_epoch", "p_holm"] < table.loc["all_epochs", "p_holm"]
    assert list(table.index[table["advised"]]) == ["all_epochs"]


@pytest.mark.parametrize(
    ("reason", "distances"),
    [
        ("one seed disagrees", [0.5, 0.5, 0.5, 3.1]),
        ("a seed did not walk it", [0.5, 0.5, 0.5]),
        ("the lead is within the margin", [2.95, 2.94, 2.93, 2.96]),
    ],
)
def test_nothing_is_advised_where(reason, distances, readings):
    assert not readings(first_epoch=distances)["advised"].any(), reason


def test_one_seed_advises_nothing(arm, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(arm.run.folder.parent))
    one = Run(arm.run.name, seeds=1).arms[0]
    assert not practice.ranked(one)["advised"].any()
    assert practice.advised(one) is None


def test_a_margin_of_ones_own_moves_the_bar(readings, arm, monkeypatch):
    assert readings(first_epoch=[2.5, 2.4, 2.5, 2.6])["advised"].any()
    monkeypatch.setattr(arm.run, "margin", 0.8)
    assert not readings(first_epoch=[2.5, 2.4, 2.5, 2.6])["advised"].any()


def test_settings_are_named_in_words():
    assert practice.name("all", "first_epoch") == "first epoch"
    assert practice.name("last2", "first_epoch") == "first epoch, the last two blocks only"
    assert practice.name("embedding", "epoch_3") == "epoch 3 alone, embedding only"


def test_leftovers_tell_what_is_known(arm):
    left = practice.left_behind(arm)
    means = left.groupby("model").mean(numeric_only=True)
    assert means.loc["finetuned", "still"] == 1.0
    assert np.isnan(means.loc["oracle", "distance"])  # no world here has two oracles
    assert means.loc["first_epoch", "distance"] < means.loc["finetuned", "distance"]
    assert np.isnan(means.loc["wrong_person", "paraphrase_nll"])
    asked = means.loc["finetuned", "paraphrase_nll"] - means.loc["finetuned", "forget_nll"]
    assert asked == pytest.approx(PARAPHRASE, abs=1e-5)  # data files keep six digits
    assert list(left["model"].unique()) == list(practice.MODELS)


def test_an_oracle_is_held_against_the_others_of_its_world():
    rows = [("oracle", 0, 1.0), ("oracle", 1, 3.0), ("finetuned", 0, 0.5), ("first_epoch", 0, 2.05)]
    rows = pd.DataFrame(rows, columns=["method", "seed", "value"]).assign(example="a", metric="nll", world=0)
    found = practice._shares(practice._against_oracle(rows))
    assert found.loc[(0, "oracle"), "distance"] == 2.0
    assert found.loc[(0, "finetuned"), ["distance", "still", "past"]].tolist() == [1.5, 1, 0]
    assert found.loc[(0, "first_epoch"), ["still", "past"]].tolist() == [0, 0]  # near enough
    apart = practice._shares(practice._against_oracle(rows.assign(world=rows["seed"])))
    assert apart.loc[(0, "finetuned"), "distance"] == 0.5  # an id of another world is another fact
    assert np.isnan(apart.loc[(0, "oracle"), "distance"])


def test_prices_come_from_cells_and_from_rows_of_the_first_seed(arm, monkeypatch):
    assert np.isnan(practice.prices(arm)["ledger_bytes"])
    told = {"training_seconds": 60.0, "records": 100.0, "ledger_bytes": 4e6, "weights_bytes": 2e6}
    stages = {
        "train": pd.DataFrame({"metric": told.keys(), "value": told.values()}),
        "oracle": pd.DataFrame({"metric": ["training_seconds"] * 3, "value": [200.0, 210.0, 2000.0]}),
        "portraits": pd.DataFrame({"method": ["first_epoch", "all_epochs"], "seconds": [2.0, 7.0]}),
    }
    monkeypatch.setattr(type(arm), "observations", lambda _, stage: stages[stage])
    found = practice.prices(arm)
    assert (found["oracle_seconds"], found["first_epoch"], found["records"]) == (210.0, 2.0, 100.0)
    assert found["train_gb"] == pytest.approx(0.001)
