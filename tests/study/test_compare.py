"""Which cells compare methods, and that no method sees a fact that its path scores."""

import pytest

from unlearnkit import study
from unlearnkit.claims.methods import PRINCIPAL, TUNING_SEEDS
from unlearnkit.study import compare, config, plan, profiles, trials
from unlearnkit.study.cells import TRAININGS

SEEDS = {"seeds_principal": 2, "seeds_others": 1, "seeds_methods": 3, "seeds_methods_beside": 2}
SEEDS |= {"seeds_hessian": 1}


@pytest.fixture(scope="module")
def cells():
    return compare.cells(profiles.get("full", SEEDS))


def test_each_model_has_its_number_of_seeds(cells):
    walked = [(c.arm, c.seed, c.config["paths"][0]["method"]) for c in cells if c.stage == "compared"]
    every = set(trials.names())
    for arm, seed, expected in [
        ("smollm2-135m, AdamW", 0, every),
        ("smollm2-135m, AdamW", 1, set(PRINCIPAL)),
        ("smollm2-135m, AdamW", 2, set()),
        *((f"{model}, AdamW", 1, every) for model in (config.TINY, config.NEOX, config.LLAMA)),
        (f"{config.TINY}, AdamW", 2, every),
        (f"{config.NEOX}, AdamW", 2, set()),
        (f"{config.TINY}, AdamW", 3, set()),
        (f"{config.TINY}, SGD", 0, {"all_epochs", "hf_ocu"}),
        (f"{config.TINY}, SGD", 1, set()),
        (f"{config.TINY}-untied, AdamW", 0, set()),
    ]:
        assert {m for a, s, m in walked if (a, s) == (arm, seed)} == expected, (arm, seed)
    assert len(walked) == len(set(walked))


def test_they_change_no_cell_of_the_study():
    given = SEEDS | config.NO_VERIFICATION  # which trains as they do
    without = [
        c.key for c in study.cells_of(profiles.get("full", given | config.NO_COMPARISON | {"seeds_words": 0}))
    ]
    assert [c.key for c in study.cells_of(profiles.get("full", given))][: len(without)] == without


def test_no_method_sees_a_fact_that_its_path_scores(cells):
    for cell in cells:
        scored = set(cell.config["retain"])
        assert scored
        assert not scored & {*cell.config["record"], *cell.config["control"]}
        assert set(cell.config["forget"]) <= set(cell.config["record"])


def test_tuning_worlds_are_no_test_worlds_and_forget_others():
    arms = plan.arms(profiles.get("full"))
    assert not {s for arm in arms for s in arm.seeds} & set(TUNING_SEEDS)
    tested = {setting.target for arm in arms for setting in arm.settings}
    assert not {plan.built_in(seed).target for seed in TUNING_SEEDS} & tested


def test_each_trial_is_a_cell_of_its_own():
    found = compare.trial_cells(
        config.TINY, plan.built_in(TUNING_SEEDS[0]), {n: trials.space(n) for n in ("npo", "retrain")}
    )
    assert list(found) == [*(("npo", k) for k in range(6)), ("retrain", 0)]
    assert len({cell.key for cell in found.values()}) == len({cell.title for cell in found.values()}) == 7


def test_published_oracles_are_not_trained_again(monkeypatch):
    """Their rows are all that a path reads; the training is made, for its ledger and its history."""
    profile = profiles.get("full", SEEDS)
    oracles = {c.key for c in study.cells_of(profile) if c.stage == "oracle"}
    monkeypatch.setattr(study.collect, "published_keys", lambda: oracles)
    for fresh in (False, True):
        walked = [s for s in study.steps(profile, fresh) if getattr(s, "stage", "") == "compared"]
        assert walked
        for cell in walked:
            assert [n.restore is not None for n in cell.needs if n.stage == "oracle"] == [
                not fresh for n in cell.needs if n.stage == "oracle"
            ]
            assert all(n.restore is None for n in cell.needs if n.stage in TRAININGS)
