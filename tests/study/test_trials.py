"""What is tried of each method: a fair budget of options that exist, and the choice that the rule makes."""

import inspect
import json

import pandas as pd
import pytest

from unlearnkit.claims.methods import BEYOND, HAVE, NEVER_ADVISED, PRINCIPAL, TRIALS, sees
from unlearnkit.study import config, plan, trials
from unlearnkit.unlearning import METHODS

RECIPE = plan.recipe(config.TINY, "adamw")


@pytest.mark.parametrize("name", trials.names())
def test_every_trial_is_one_that_the_method_can_be_given(name):
    filled = {"known", "until", "fresh"}  # by the study
    tried = [trials.options(name, told, RECIPE) for told in trials.space(name)]
    for options in tried:
        assert set(options) <= set(METHODS[name].options)
        missing = {k for k, v in METHODS[name].options.items() if v is inspect.Parameter.empty}
        assert missing <= filled | set(options)
    assert 1 <= len(tried) <= TRIALS
    assert len({json.dumps(options, sort_keys=True) for options in tried}) == len(tried)


def test_methods_with_a_rate_have_the_whole_budget():
    """None is favoured by more trials than others, or held back by fewer."""
    rated = [name for name in trials.names() if "lr" in METHODS[name].options]
    assert len(rated) > 15
    assert {len(trials.space(name)) for name in rated} == {TRIALS}


def test_a_space_that_is_too_large_is_an_error(monkeypatch):
    monkeypatch.setitem(trials.SPACES, "npo", [{"beta": k} for k in range(TRIALS + 1)])
    with pytest.raises(ValueError, match="npo"):
        trials.space("npo")


def test_rates_are_multiples_of_the_recipe_s():
    assert trials.options("npo", {"rate": 0.25, "beta": 0.1}, {"lr": 4e-3}) == {"beta": 0.1, "lr": 1e-3}
    assert trials.options("kga", {"rate": 0.25}, {"lr": 4e-3}) == {"lr": 1e-3, "taught_lr": 4e-3}
    undo = trials.options("undo", {"rate": 1.0}, {"lr": 4e-3})
    assert undo["first_options"] == {"lr": trials.RATES[1] * 4e-3}


def test_the_cheapest_is_chosen_and_of_equals_the_closest():
    rows = [
        *[
            ("npo", f'{{"rate": {rate}}}', seed, price, 1.0)
            for rate, seed, price in [(1, 40, 1.0), (1, 41, 3.0)]
        ],
        *[("npo", '{"rate": 2}', seed, 1.9, 9.0) for seed in (40, 41)],
        *[("dpo", f'{{"rate": {rate}}}', 40, 5.0, closest) for rate, closest in [(1, 2.0), (2, 1.0)]],
    ]
    table = pd.DataFrame(rows, columns=["method", "trial", "seed", "price", "closest"])
    assert dict(trials.best(table)) == {"npo": '{"rate": 2}', "dpo": '{"rate": 2}'}


def tried(best, more=()):
    """Trials of a method of which the one named is the cheapest; `more` after three rates by two of beta."""
    told = [{"rate": rate, "beta": beta} for rate in (0.25, 0.5, 2.0) for beta in (0.1, 0.5)] + [*more]
    rows = [("npo", json.dumps(one), 40, 1.0 - (one == best), 1.0) for one in told]
    return pd.DataFrame(rows, columns=["method", "trial", "seed", "price", "closest"])


def test_where_the_best_rate_is_at_an_end_the_next_one_is_tried():
    assert trials.beyond("npo", tried({"rate": 2.0, "beta": 0.5})) == {"rate": 8.0, "beta": 0.5}
    assert trials.beyond("npo", tried({"rate": 0.25, "beta": 0.1})) == {"rate": 0.125, "beta": 0.1}
    assert trials.beyond("npo", tried({"rate": 0.5, "beta": 0.1})) is None  # within
    further = {"rate": 8.0, "beta": 0.1}
    assert trials.beyond("npo", tried(further, more=[further])) == {"rate": 32.0, "beta": 0.1}
    # An end of the rates beside the same other options, not of all.
    assert trials.beyond("npo", tried({"rate": 2.0, "beta": 0.5}, more=[further])) == {
        "rate": 8.0,
        "beta": 0.5,
    }
    assert trials.beyond("npo", tried({"rate": 2.0, "beta": 0.1}, more=[further])) is None


def test_there_is_an_end_to_more_rates():
    more = [{"rate": 2.0 * 4**k, "beta": 0.1} for k in range(1, BEYOND + 1)]
    assert trials.beyond("npo", tried(more[-2], more=more[:-1])) == more[-1]
    assert trials.beyond("npo", tried(more[-1], more=more)) is None


def test_a_method_without_a_rate_is_tried_no_further():
    rows = pd.DataFrame([("msa", '{"b": 0.5}', 40, 1.0, 1.0), ("msa", '{"b": 0.1}', 40, 2.0, 1.0)])
    assert (
        trials.beyond("msa", rows.set_axis(["method", "trial", "seed", "price", "closest"], axis=1)) is None
    )


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """gpt2-tiny was tuned, others were not."""
    trials.reread()
    monkeypatch.setattr(trials, "FOLDER", tmp_path)
    told = [("npo", json.dumps({"rate": rate, "beta": 0.5}), 40, rate, True, 1.0, 1.0) for rate in (2, 3)]
    columns = ["method", "trial", "seed", "price", "reached", "closest", "seconds"]
    pd.DataFrame(told, columns=columns).to_csv(tmp_path / "gpt2-tiny.csv", index=False)
    yield
    trials.reread()


def test_a_model_takes_its_family_s_choice_or_another_s_in_its_own_rates(tuned):
    assert trials.chosen("gpt2-tiny", "npo", {"lr": 1e-3}) == {"beta": 0.5, "lr": 2e-3}
    assert trials.chosen("never-tuned", "npo", {"lr": 1e-4}) == {"beta": 0.5, "lr": 2e-4}


def test_a_method_that_nobody_tuned_has_its_own_defaults(tuned):
    assert trials.chosen("gpt2-tiny", "dpo", {"lr": 1e-3}) == {"lr": trials.RATES[1] * 1e-3}
    assert trials.chosen("gpt2-tiny", "kfac_replay", {"lr": 1e-3}) == {}


def test_a_path_is_looked_at_as_its_method_walks():
    assert trials.path_steps("first_epoch") == config.COMPARED_STEPS
    assert trials.path_steps("gradient_ascent") == config.COMPARED_FRESH_STEPS
    assert trials.path_steps("npo") == config.COMPARED_TRAINED_STEPS
    assert trials.path_steps("retrain") == trials.path_steps("prompt_guard") == (1,)


def test_the_registered_names_are_methods_that_are_compared():
    assert {*PRINCIPAL, *NEVER_ADVISED} <= set(trials.names())
    assert len(PRINCIPAL) == 10
    assert set(trials.LEFT_OUT) <= set(METHODS)


def test_what_a_method_sees_is_the_least_that_it_needs():
    assert sees(()) == "nothing"
    assert sees(METHODS["kfac_replay"].needs) == "the ledger"
    assert sees(METHODS["task_vector"].needs) == "the forget texts"
    assert sees(METHODS["npo"].needed({})) == "retain texts"
    assert sees(METHODS["rewind"].needs) == sees(METHODS["sisa"].needs) == "the history of training"
    assert {sees(METHODS[name].needs) for name in trials.names()} <= {*HAVE, "nothing"}
